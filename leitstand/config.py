"""leitstand.yml as frozen models, each validated by the program that owns its section.

``read(document, Owner)`` gives one owner's settings; ``check(document)`` asks all owners and returns every problem.
"""

import difflib
import importlib
from collections.abc import Iterator
from typing import Any, Protocol, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from leitstand.document import ConfigError, Document, KeyPath, Problem, load_document
from leitstand.fleet import Finding, Fleet


class Owner(Protocol):
    """A model whose fields are the sections that one program owns."""

    def cross_check(self, fleet: Fleet) -> Iterator[Finding]:
        """What is wrong between sections, such as a name that is not defined."""


Settings = TypeVar("Settings", bound=BaseModel)

# Who owns which sections: the fields of each model are the sections.
OWNERS: tuple[str, ...] = (
    "leitstand.fleet:Fleet",
    "orchestrator.config:BackupSettings",
    "status_page.config:StatusPageSettings",
)

_WORDS = {
    "missing": "is missing",
    "extra_forbidden": "unknown key",
    "string_type": "must be a text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a mapping of names",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
}


def owners() -> list[type[BaseModel]]:
    """Every owner's model. Importing them needs no role's requirements: models use pydantic alone."""
    return [getattr(importlib.import_module(module), name) for module, name in (o.split(":") for o in OWNERS)]


def read(document: Document, owner: type[Settings]) -> Settings:
    """The settings of one owner. Raises ConfigError with all problems of its sections and of the fleet's."""
    settings, problems = _validate(document, owner)
    fleet, fleet_problems = (settings, []) if owner is Fleet else _validate(document, Fleet)
    problems = [*document.problems, *problems, *fleet_problems]
    if isinstance(fleet, Fleet) and settings is not None:
        problems += _cross_problems(document, settings, fleet)
    if problems or settings is None:
        raise ConfigError(problems)
    return settings


def check(document: Document) -> list[Problem]:
    """Every problem of every section, sorted by file and line."""
    models = owners()
    problems = [*document.problems, *_unknown_sections(document, models)]
    fleet, _ = _validate(document, Fleet)
    for model in models:
        settings, found = _validate(document, model)
        problems += found
        if settings is not None and isinstance(fleet, Fleet):
            problems += _cross_problems(document, settings, fleet)
    return sorted(set(problems))


def _cross_problems(document: Document, settings: Any, fleet: Fleet) -> list[Problem]:
    return [document.problem(path, what, hint) for path, what, hint in settings.cross_check(fleet)]


def _unknown_sections(document: Document, models: list[type[BaseModel]]) -> list[Problem]:
    known = [name for model in models for name in model.model_fields]
    return [
        document.problem((section,), "unknown section", _did_you_mean(section, known))
        for section in document.data
        if section not in known
    ]


def _validate(document: Document, owner: type[Settings]) -> tuple[Settings | None, list[Problem]]:
    # A section that is written but empty ("hosts:") means the same as one that is not there.
    own = {name: document.data[name] for name in owner.model_fields if document.data.get(name) is not None}
    try:
        return owner.model_validate(own), []
    except ValidationError as error:
        return None, [_problem(document, owner, dict(detail)) for detail in error.errors(include_url=False)]


def _problem(document: Document, owner: type[BaseModel], detail: dict[str, Any]) -> Problem:
    kind = detail["type"]
    what = _WORDS.get(kind) or str(detail["msg"]).removeprefix("Value error, ")
    path = _path_in_file(document, tuple(detail["loc"]))
    hint = ""
    if kind == "extra_forbidden":
        hint = _did_you_mean(str(detail["loc"][-1]), _fields_at(owner, tuple(detail["loc"][:-1])))
    elif kind == "missing":
        hint = f"add '{detail['loc'][-1]}:' here"
    return document.problem(path, what, hint)


def _path_in_file(document: Document, location: KeyPath) -> KeyPath:
    """pydantic's location without what is not in the file: tags of unions, ``[key]`` of names."""
    path: KeyPath = ()
    last = len(location) - 1
    for index, part in enumerate(location):
        child = (*path, part)
        if part == "[key]":
            continue
        if child in document.positions or (index == last and isinstance(part, str)) or isinstance(part, int):
            path = child
    return path


def _fields_at(model: Any, location: KeyPath) -> list[str]:
    """The keys that are known at a location, to guess what was meant."""
    models = [model]
    for part in location:
        models = [inner for outer in models for inner in _step(outer, part)] or models
    return [name for found in models if _is_model(found) for name in found.model_fields]


def _step(model: Any, part: str | int) -> list[Any]:
    if _is_model(model):
        field = model.model_fields.get(part)
        return _models_in(field.annotation) if field else []
    return [model]


def _models_in(annotation: Any) -> list[Any]:
    """The models inside ``list[A | B]``, ``dict[Name, A]``, ``Annotated[A, …]``."""
    if _is_model(annotation):
        return [annotation]
    if get_origin(annotation) is Union or get_args(annotation):
        return [model for argument in get_args(annotation) for model in _models_in(argument)]
    return []


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _did_you_mean(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean '{close[0]}'?" if close else f"known here: {', '.join(sorted(set(known)))}"


__all__ = ["ConfigError", "Document", "Problem", "check", "load_document", "owners", "read"]
