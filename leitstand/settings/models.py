"""The base of every section's model, and types used by several sections."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

# A name is used in metric labels, object keys, file names and URLs: only letters that all of them accept.
NAME_PATTERN = re.compile(r"^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$")
_UNIT_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
DURATION_PATTERN = r"^\s*([0-9]+(\.[0-9]+)?(ms|[smhdw])\s*)+$"
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|[smhdw])\s*")
_LONGEST = timedelta(days=36500)
_SPELT_OUT = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"})


class SettingError(ValueError):
    """Raised by validators: what is wrong, what to do. Never contains a value that may be secret."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(f"{what}; {hint}" if hint else what)
        self.what, self.hint = what, hint


class Model(BaseModel):
    """A frozen settings model: unknown keys are refused, and no value is converted silently."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, hide_input_in_errors=True, validate_default=True
    )


class BadNameError(SettingError):
    """An invalid name; where it is a reference, the entry it refers to has the same problem."""


def _is_a_name(value: str) -> str:
    if not NAME_PATTERN.fullmatch(value):
        tidy = (
            re.sub(r"[^a-z0-9._-]+", "-", value.lower().translate(_SPELT_OUT)).strip("._-")[:64].rstrip("._-")
        )
        raise BadNameError(
            "a name is 1 to 64 lower-case letters, digits, '.', '_', '-', "
            "with a letter or digit at both ends",
            f"write '{tidy}'" if tidy else "choose one such as 'web1'",
        )
    return value


def parse_duration(value: Any) -> timedelta:
    """``90s``, ``15m``, ``1h30m``, ``2d``, ``1w`` as a timedelta; ValueError for anything else."""
    if isinstance(value, timedelta):
        return value
    text = value.strip() if isinstance(value, str) else ""
    if not text or _DURATION.sub("", text):
        raise SettingError("a duration is a number with a unit", "write it as 30s, 15m, 1h30m, 2d or 1w")
    seconds = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _DURATION.findall(text))
    if seconds > _LONGEST.total_seconds():
        raise SettingError("a duration is at most 36500d", "check the unit")
    return timedelta(seconds=seconds)


def duration_text(duration: timedelta) -> str:
    """A duration as written in the file: ``1h30m``; ``0s`` for zero."""
    left, text = round(duration.total_seconds() * 1000), ""
    for unit in ("d", "h", "m", "s", "ms"):
        count, left = divmod(left, round(_UNIT_SECONDS[unit] * 1000))
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def _is_absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise SettingError("a path must be absolute", "begin it with '/'; '~' and variables are not expanded")
    _is_one_line(str(path))
    return path


def _is_one_line(value: str) -> str:
    # In the configuration of other programs such letters would begin lines or be refused.
    if not value.isprintable():
        letter = next(letter for letter in value if not letter.isprintable())
        raise SettingError(f"it contains a non-printable character (U+{ord(letter):04X})", "leave it out")
    return value


Name = Annotated[str, AfterValidator(_is_a_name), Field(json_schema_extra={"pattern": NAME_PATTERN.pattern})]
Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration, json_schema_input_type=Annotated[str, Field(pattern=DURATION_PATTERN)]),
]
_PRINTED = r"[^\x00-\x1f\x7f]*"
Line = Annotated[str, AfterValidator(_is_one_line), Field(json_schema_extra={"pattern": f"^{_PRINTED}$"})]
AbsolutePath = Annotated[
    Path,
    Field(strict=False),
    AfterValidator(_is_absolute),
    Field(json_schema_extra={"pattern": f"^/{_PRINTED}$"}),
]
