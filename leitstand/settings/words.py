"""A validation error in the words of the person who writes leitstand.yml."""

import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from leitstand.settings.models import SettingError
from leitstand.settings.places import Place

_GROUP = "a group of 'key: value' lines"
_WANTED = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": _GROUP,
    "model_type": _GROUP,
    "model_attributes_type": _GROUP,
    "path_type": "a path",
    "date_type": "a date",
    "date_parsing": "a date",
    "datetime_type": "a date and time",
    "datetime_parsing": "a date and time",
    "time_delta_type": "a duration",
    "time_delta_parsing": "a duration",
}
_FOUND = {
    bool: "true or false",
    int: "a number",
    float: "a number with a decimal point",
    str: "a text",
    list: "a list",
    dict: _GROUP,
}
_LIMITS = {
    "greater_than_equal": "must be {ge} or more",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be {le} or less",
    "less_than": "must be less than {lt}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "too_short": "must have {min_length} or more entries",
    "too_long": "must have {max_length} or fewer entries",
    "string_too_short": "must have {min_length} or more characters",
    "string_too_long": "must have {max_length} or fewer characters",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "union_tag_invalid": "must be one of {expected_tags}",
}
_SWITCHES = {"yes": "true", "on": "true", "no": "false", "off": "false"}
_SECRET = re.compile(r"pass|secret|token|credential|^(api_?|access_?|private_?)?keys?$")
Words = tuple[str, str]


def explain(detail: Mapping[str, Any], place: Place) -> Words:
    """What is wrong and what to do, for one of pydantic's errors (with its input) at ``place``."""
    kind = detail["type"]
    if kind in _SPECIAL:
        return _SPECIAL[kind](detail, place)
    if detail["input"] is None and kind in _WANTED:
        return _no_value(place)
    if kind in _WANTED:
        return _wrong_type(_WANTED[kind], detail["input"], place)
    if kind in _LIMITS:
        return _LIMITS[kind].format_map(detail["ctx"]), _choice_hint(detail)
    # A kind unknown to pydantic is our own, with its own message.
    if detail.get("own"):
        return detail["msg"], _choice_hint(detail) or _meaning(place)
    return "is not allowed here", _meaning(place)


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """A hint with the closest known word, or all of them."""
    near = _nearest(word, known)
    return f"did you mean '{near}'?" if near else f"known here: {', '.join(sorted(set(known)))}"


def meant(key: str, known: Sequence[str]) -> str:
    """The known key probably meant by an unknown one; empty if none is close."""
    return _file_for_secret(key, known) or _nearest(key, known)


def _nearest(word: str, known: Sequence[str]) -> str:
    return next(iter(get_close_matches(word.lower(), known, n=1)), "")


def _file_for_secret(key: str, known: Sequence[str]) -> str:
    """The key for the file of a secret that was given by value."""
    files = [name for name in known if name.endswith("_file")]
    if not _SECRET.search(key.lower()) or key.lower().endswith("file"):
        return ""
    of_secrets = [name for name in files if _SECRET.search(name.removesuffix("_file"))] or files
    return next(iter(get_close_matches(f"{key.lower()}_file", of_secrets, n=1, cutoff=0)), "")


def _refused(detail: Mapping[str, Any], place: Place) -> Words:
    error = detail["ctx"]["error"]
    if detail["input"] is None:
        what, hint = _no_value(place)
        return what, (isinstance(error, SettingError) and error.hint) or hint
    if isinstance(error, SettingError):
        return error.what, error.hint
    return str(error), ""


def _no_value(place: Place) -> Words:
    name = place.path[-1] if place.path else ""
    if place.below:
        return "has no value", f"indent its settings below '{name}:', such as '{place.below[0]}:'"
    return "has no value", "write one after the colon, or remove the line"


def _wrong_type(wanted: str, found: Any, place: Place) -> Words:
    what = f"must be {wanted}, not {_FOUND.get(type(found), 'this')}"
    if wanted == "a text" and isinstance(found, (bool, int, float)):
        return what, "put it in quotes"
    if wanted == "true or false" and str(found).lower() in _SWITCHES:
        return what, f"write {_SWITCHES[str(found).lower()]}"
    if _only_quoted(wanted, found):
        return what, "remove the quotes"
    if wanted == "a list":
        return what, "write each item as '- item' on a separate line, or [item, item]"
    if wanted == _GROUP and isinstance(found, str) and re.search(r"[A-Za-z_]:\S", found):
        return what, "a space is needed after the colon"
    if wanted == _GROUP:
        return (
            what,
            f"known here: {', '.join(place.below)}"
            if place.below
            else "begin each entry with its name: 'name:'",
        )
    return what, _meaning(place)


def _meaning(place: Place) -> str:
    """The description of a setting as a hint, which follows a semicolon."""
    text = place.description.rstrip(".")
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def _only_quoted(wanted: str, found: Any) -> bool:
    pattern = {"a whole number": r"\d+", "a number": r"\d+(\.\d+)?", "true or false": "true|false"}.get(
        wanted
    )
    return pattern is not None and isinstance(found, str) and re.fullmatch(pattern, found) is not None


def _missing(detail: Mapping[str, Any], place: Place) -> Words:
    meaning = f" ({place.description.rstrip('.')})" if place.description else ""
    return "is missing", f"add '{place.path[-1]}: …'{meaning}"


def _unknown_key(detail: Mapping[str, Any], place: Place) -> Words:
    key = str(place.path[-1])
    if holder := _file_for_secret(key, place.beside):
        return "a secret must not be written here", f"write it to a file and set '{holder}'"
    return "unknown key", did_you_mean(key, place.beside)


def _pattern(detail: Mapping[str, Any], place: Place) -> Words:
    return "has the wrong format", _meaning(place) or f"it must match {detail['ctx']['pattern']}"


def _choice_hint(detail: Mapping[str, Any]) -> str:
    """The one of the quoted choices that is close to a value, or to a setting such as ``type: foldr``."""
    given = detail["input"]
    choices = re.findall(r"'([^']*)'", str(detail.get("ctx", {}).get("expected", detail["msg"])))
    written = [f"{key}: {value}" for key, value in given.items()] if isinstance(given, dict) else [str(given)]
    close = [near for text in written for near in get_close_matches(text.lower(), choices, n=1)]
    return f"did you mean '{close[0]}'?" if close else ""


_SPECIAL: dict[str, Callable[[Mapping[str, Any], Place], Words]] = {
    "missing": _missing,
    "extra_forbidden": _unknown_key,
    "value_error": _refused,
    "assertion_error": _refused,
    "string_pattern_mismatch": _pattern,
}
