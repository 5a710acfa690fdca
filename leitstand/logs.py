"""Set up logging once, from the command line."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal

LogFormat = Literal["text", "json"]


class TextFormatter(logging.Formatter):
    """One line an entry: time (RFC 3339, local), level, logger, message."""

    def format(self, record: logging.LogRecord) -> str:
        # A file name from elsewhere may hold a line break and forge an entry, or steer a terminal.
        message = "".join(
            letter if letter.isprintable() else repr(letter)[1:-1] for letter in record.getMessage()
        )
        time = datetime.fromtimestamp(record.created, UTC).astimezone().isoformat(timespec="milliseconds")
        trace = f"\n{self.formatException(record.exc_info)}" if record.exc_info else ""
        return f"{time} {record.levelname} {record.name}: {message}{trace}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC), level, logger, message."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def set_up_logging(level: str = "info", log_format: LogFormat = "text") -> None:
    """Log to standard error. botocore stays at WARNING: its debug output holds authorization headers."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in ("botocore", "boto3", "urllib3", "s3transfer"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
