"""Types of single values of the sections ``stores`` and ``backups``: sizes, URLs, buckets, schedules."""

import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from leitstand.settings.fields import require_host
from leitstand.settings.models import AbsolutePath, SettingError
from orchestrator.config.schedule import parse_schedule

KIBIBYTE, MEBIBYTE = 1024, 1024**2
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(B|KiB|MiB|GiB|TiB|kB|MB|GB|TB)?")
_UNITS = {"": 1, "B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4}
_UNITS |= {"kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
WHEN = "daily 03:00, weekly sun 03:00, monthly 1 03:00, hourly, every 6h, or cron's five fields."
NEVER = "never"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def parse_size(value: Any) -> int:
    """``64MiB``, ``1GB`` or a number of bytes, in bytes. Raises ValueError for anything else."""
    found = _SIZE.fullmatch(str(value).strip())
    if not found or isinstance(value, bool):
        raise ValueError("a size is written as 512KiB, 64MiB or 1GiB")
    return int(float(found[1]) * _UNITS[found[2] or ""])


def _is_endpoint(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("an endpoint starts with http:// or https:// and a host")
    require_host(parts.hostname)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("an endpoint is a URL without user name, password or query")
    return value.rstrip("/")


def _is_bucket(value: str) -> str:
    if not _BUCKET.fullmatch(value):
        raise ValueError("a bucket has 3 to 63 lower-case letters, digits, '.' or '-'")
    return value


def _is_prefix(value: str) -> str:
    parts = value.split("/") if value else []
    if any(
        not part or part.strip(".") == "" or not part.isprintable() or not part.isascii() for part in parts
    ):
        raise ValueError(
            "a prefix is like 'backups' or 'team/backups': printable ASCII, no '..', no slash at its ends"
        )
    return value


def _is_argv(words: list[str]) -> list[str]:
    if "/" in words[0] and not words[0].startswith("/"):
        raise SettingError(
            "a program with a '/' is a path, and must be absolute",
            "begin it with '/', or name a program that PATH finds",
        )
    return words


def _is_a_tidy_path(path: Path) -> Path:
    if ".." in path.parts or "\0" in str(path):
        raise ValueError("a path must not contain '..'")
    return path


def _is_schedule(value: str) -> str:
    parse_schedule(value)
    return value


def _is_schedule_or_never(value: str) -> str:
    if value != NEVER:
        parse_schedule(value)
    return value


Size = Annotated[int, BeforeValidator(parse_size, json_schema_input_type=str | int)]
SourcePath = Annotated[AbsolutePath, AfterValidator(_is_a_tidy_path)]
FileName = Annotated[str, Field(pattern=r"^[^/\x00]*[^/.\x00][^/\x00]*$")]
DatabaseName = Annotated[str, Field(pattern=r"^(\*|[A-Za-z0-9_$][A-Za-z0-9_$-]{0,62})$")]

Speed = Annotated[
    int,
    BeforeValidator(parse_size, json_schema_input_type=str | int),
    Field(ge=KIBIBYTE, description="A second."),
]
Argv = Annotated[
    list[str],
    Field(min_length=1, json_schema_extra={"prefixItems": [{"pattern": "^(/|[^/]*$)"}]}),
    AfterValidator(_is_argv),
]
Endpoint = Annotated[str, AfterValidator(_is_endpoint)]
Bucket = Annotated[str, AfterValidator(_is_bucket)]
Prefix = Annotated[str, AfterValidator(_is_prefix)]
When = Annotated[str, AfterValidator(_is_schedule)]
WhenOrNever = Annotated[str, AfterValidator(_is_schedule_or_never)]
