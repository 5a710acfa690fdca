"""Set up logging once, from the command line."""

import json
import logging
import sys
from datetime import UTC, datetime, tzinfo
from typing import Literal

LogFormat = Literal["text", "json"]


class _Formatter(logging.Formatter):
    """``zone`` is the time zone of the times; None: this machine's."""

    zone: tzinfo | None = None

    def time(self, record: logging.LogRecord) -> str:
        """When it was logged, in the format of RFC 3339."""
        return (
            datetime.fromtimestamp(record.created, UTC)
            .astimezone(self.zone)
            .isoformat(timespec="milliseconds")
        )


class TextFormatter(_Formatter):
    """One line an entry: time, level, logger, message."""

    def format(self, record: logging.LogRecord) -> str:
        # A foreign file name may contain a line break that forges an entry, or control a terminal.
        message = "".join(
            letter if letter.isprintable() else repr(letter)[1:-1] for letter in record.getMessage()
        )
        trace = f"\n{self.formatException(record.exc_info)}" if record.exc_info else ""
        return f"{self.time(record)} {record.levelname} {record.name}: {message}{trace}"


class JsonFormatter(_Formatter):
    """One JSON object a line: time, level, logger, message."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": self.time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def log_times_in(zone: tzinfo) -> None:
    """Write times in this zone from now on: the site's, once it is known."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler.formatter, _Formatter):
            handler.formatter.zone = zone


def set_up_logging(level: str = "info", log_format: LogFormat = "text") -> None:
    """Log to standard error. botocore stays at WARNING: its debug output contains authorization headers."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in ("botocore", "boto3", "urllib3", "s3transfer"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
