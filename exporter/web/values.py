"""Check a section of YAML key by key, and report all problems at once.

Hand-written: the web configuration is read in a server on every host, and pydantic would be a third of its
memory.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

KeyPath = tuple[str | int, ...]
Finding = tuple[KeyPath, str, str]  # where, what is wrong, what to do about it
# Gets the value as written, its path, and the list for problems; returns the checked value.
Take = Callable[[Any, KeyPath, list[Finding]], Any]
Section = TypeVar("Section")
_MOST = 2**63 - 1
_TAKE = "take"
_UNKNOWN_KEY = ("unknown key", "the keys are those of Prometheus' exporter-toolkit")


class WrongValue(ValueError):  # noqa: N818 - reads as a sentence where it is raised
    """Raised by a check. Never contains a value that may be secret."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what, self.hint = what, hint


def read_by(take: Take) -> dict[str, Take]:
    """The metadata of a field in a section's dataclass: how its value is read."""
    return {_TAKE: take}


def one(check: Callable[[Any], Any]) -> Take:
    """A value that ``check`` converts, or refuses with WrongValue."""

    def take(given: Any, path: KeyPath, findings: list[Finding]) -> Any:
        try:
            return check(given)
        except WrongValue as error:
            findings.append((path, error.what, error.hint))
            return None

    return take


def list_of(check: Callable[[Any], Any]) -> Take:
    """A list of such values."""

    def take(given: Any, path: KeyPath, findings: list[Finding]) -> list[Any]:
        if not isinstance(given, list):
            findings.append((path, "must be a list", ""))
            return []
        return [one(check)(item, (*path, index), findings) for index, item in enumerate(given)]

    return take


def mapping_of(check: Callable[[Any], Any]) -> Take:
    """A mapping from names that the user chooses to such values."""

    def take(given: Any, path: KeyPath, findings: list[Finding]) -> dict[str, Any]:
        if not isinstance(given, Mapping):
            findings.append((path, "must hold keys and values", ""))
            return {}
        return {name: one(check)(item, (*path, name), findings) for name, item in given.items()}

    return take


def section(kind: type[Section]) -> Take:
    """A section with the fields of a dataclass. An empty key is the same as a missing one."""
    settings = {each.name: each.metadata[_TAKE] for each in fields(kind)}  # type: ignore[arg-type]

    def take(given: Any, path: KeyPath, findings: list[Finding]) -> Section:
        if not isinstance(given, Mapping):
            findings.append((path, "must hold keys and values", ""))
            return kind()
        findings += [((*path, name), *_UNKNOWN_KEY) for name in given if name not in settings]
        written = {name: item for name, item in given.items() if name in settings and item is not None}
        return kind(**{name: settings[name](item, (*path, name), findings) for name, item in written.items()})

    return take


def text(given: Any) -> str:
    """A text."""
    if not isinstance(given, str):
        raise WrongValue("must be a text", 'put it in quotes: "…"')
    return given


def one_of(*words: str) -> Callable[[Any], str]:
    """One of these words; an empty one may be allowed, and is not mentioned."""

    def check(given: Any) -> str:
        if not isinstance(given, str) or given not in words:
            raise WrongValue("has a wrong value", f"write one of {', '.join(filter(None, words))}")
        return given

    return check


def whole_number(given: Any) -> int:
    """A count: 0 or more."""
    if not isinstance(given, int) or isinstance(given, bool) or not 0 <= given <= _MOST:
        raise WrongValue(f"must be a whole number from 0 to {_MOST}")
    return given


def switch(given: Any) -> bool:
    """True or false."""
    # exporter-toolkit reads YAML 1.1, where these words are booleans; here they are texts.
    words = {"yes": True, "on": True, "y": True, "no": False, "off": False, "n": False}
    value = words.get(given.lower()) if isinstance(given, str) else given
    if not isinstance(value, bool):
        raise WrongValue("must be true or false")
    return value
