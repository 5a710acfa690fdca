"""The ground every section's model stands on, and the types that several sections use."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

# A name ends up in metric labels, object keys, file names and URLs: so it is kept to what all of them take.
NAME_PATTERN = re.compile(r"^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)")
_UNIT_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class Model(BaseModel):
    """A frozen settings model: unknown keys are refused, values are not silently converted."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True)


def _is_a_name(value: str) -> str:
    if not NAME_PATTERN.match(value):
        raise ValueError(
            "a name is 1 to 64 small letters, digits, '.', '_' or '-', and starts and ends with letter or digit"
        )
    return value


def parse_duration(value: Any) -> timedelta:
    """``90s``, ``15m``, ``1h30m``, ``2d``, ``1w`` as a timedelta; ValueError for anything else."""
    if isinstance(value, timedelta):
        return value
    text = str(value).strip()
    if not text or _DURATION.sub("", text).strip():
        raise ValueError("a duration is written as 30s, 15m, 1h30m, 2d or 1w")
    return timedelta(seconds=sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _DURATION.findall(text)))


def _is_absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("a path must be absolute (start with /)")
    return path


Name = Annotated[str, AfterValidator(_is_a_name), Field(json_schema_extra={"pattern": NAME_PATTERN.pattern})]
Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration, json_schema_input_type=str),
]
AbsolutePath = Annotated[Path, AfterValidator(_is_absolute)]
