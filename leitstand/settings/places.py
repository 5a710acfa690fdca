"""Map pydantic's location of an error to a place in the file and in the models."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Tag

from leitstand.settings.problems import KeyPath

_KEY = "[key]"  # pydantic's mark for "the key itself, not its value"


@dataclass(frozen=True)
class Place:
    """A path in the file; the known keys next to it and below it; the description of its field."""

    path: KeyPath = ()
    beside: list[str] = field(default_factory=list)
    below: list[str] = field(default_factory=list)
    description: str = ""


def locate(model: type[BaseModel], location: Sequence[str | int]) -> Place:
    """The place of pydantic's ``location``, without what the file lacks: union labels, ``[key]``."""
    kinds: list[Any] = [model]
    place, chosen = Place(below=_keys(kinds)), False
    for part in location:
        if part == _KEY:
            break
        kinds = [member for kind in kinds for member in _members(kind)]
        if len(kinds) > 1 and not chosen:
            kinds, chosen = [kind for kind in kinds if part in _labels(kind)] or kinds, True
            continue
        description = next((found for kind in kinds if (found := _description(kind, part))), "")
        beside = _keys(kinds)
        kinds, chosen = [inner for kind in kinds for inner in _inside(kind, part)], False
        place = Place((*place.path, part), beside, _keys(kinds), description)
    return place


def _members(kind: Any) -> list[Any]:
    """The alternatives of a union, without None; anything else alone."""
    bare = _bare(kind)
    if get_origin(bare) in (Union, UnionType):
        return [
            member
            for argument in get_args(bare)
            if argument is not type(None)
            for member in _members(argument)
        ]
    return [kind]


def _labels(kind: Any) -> set[str]:
    """Pydantic's label for a member of a union in a location."""
    tags = {part.tag for part in get_args(kind)[1:] if isinstance(part, Tag)}
    bare = _bare(kind)
    if not _is_model(bare):
        return tags
    fields = [info.annotation for info in bare.model_fields.values()]
    literals = {value for kind in fields if get_origin(kind) is Literal for value in get_args(kind)}
    return tags | literals | {bare.__name__}


def _inside(kind: Any, part: str | int) -> list[Any]:
    bare = _bare(kind)
    if _is_model(bare):
        return [bare.model_fields[part].annotation] if part in bare.model_fields else []
    arguments = get_args(bare)
    if get_origin(bare) is dict:
        return [arguments[1]]
    return [arguments[0]] if get_origin(bare) in (list, tuple) else []


def _keys(kinds: list[Any]) -> list[str]:
    members = [_bare(member) for kind in kinds for member in _members(kind)]
    return [name for member in members if _is_model(member) for name in member.model_fields]


def _description(kind: Any, part: str | int) -> str:
    bare = _bare(kind)
    found = bare.model_fields.get(part) if _is_model(bare) else None
    return (found.description or "") if found else ""


def _bare(kind: Any) -> Any:
    return _bare(get_args(kind)[0]) if get_origin(kind) is Annotated else kind


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
