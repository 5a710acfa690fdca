"""leitstand.yml as frozen models, each validated by the program that owns its section.

``read(document, Owner)`` gives one owner's settings; ``check(document)`` collects the problems of all owners.
"""

import copy
import importlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import Annotated, Any, Protocol, TypeVar, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core.core_schema import ErrorType

from leitstand.settings.document import ConfigError, Document, KeyPath, Problem, load_document
from leitstand.settings.fleet import Fleet
from leitstand.settings.models import BadNameError, SettingError
from leitstand.settings.places import Place, locate
from leitstand.settings.problems import Finding
from leitstand.settings.words import did_you_mean, explain, meant


class Owner(Protocol):
    """A model whose fields are the sections that one program owns."""

    def cross_check(self, fleet: Fleet) -> Iterator[Finding]:
        """Problems between sections, such as a name that is not defined.

        Of a faulty entry (it has its own problem) only the name is known: ``in`` finds it, nothing else does.
        A section with such an entry has an attribute ``complete``, which is false.
        """


Settings = TypeVar("Settings", bound=BaseModel)
_PYDANTIC_KINDS = frozenset(get_args(ErrorType))

# The owners of the sections (the fields of each model), and the function that looks for settings that are
# valid but rarely intended, given fleet and settings.
OWNERS: dict[str, str | None] = {
    "leitstand.settings.fleet:Fleet": "leitstand.settings.cautions:of_fleet",
    "orchestrator.config.settings:BackupSettings": "orchestrator.config.cautions:of_backups",
    "status_page.config:StatusPageSettings": None,
    "fleet_config.settings:DeploySettings": "fleet_config.settings:cautions",
}


def owners() -> list[type[BaseModel]]:
    """Every owner's model. Importing them needs no role's requirements: models use pydantic alone."""
    return [_named(owner) for owner in OWNERS]


def _named(name: str) -> Any:
    module, attribute = name.split(":")
    return getattr(importlib.import_module(module), attribute)


def read(document: Document, owner: type[Settings]) -> Settings:
    """The settings of one owner. Raises ConfigError with all problems of its sections and of the fleet's."""
    problems = _problems(document, [owner] if owner is Fleet else [Fleet, owner])
    settings = _validated(document, owner)
    if problems or isinstance(settings, ValidationError):
        raise ConfigError(problems)
    return settings


def check(document: Document) -> list[Problem]:
    """Every problem of every section, sorted by file and line."""
    return _problems(document, owners())


def warnings(document: Document) -> list[Problem]:
    """Settings that are valid but rarely intended, in sections that can be understood; checks files, too."""
    fleet = _understood(document, Fleet)
    found: list[Finding] = []
    for owner, cautions in OWNERS.items() if fleet is not None else ():
        settings = _understood(document, _named(owner))
        with suppress(KeyError, AttributeError):  # as for problems: an entry of which only the name is known
            for finding in _named(cautions)(fleet, settings) if cautions and settings is not None else ():
                found.append(finding)
    return sorted(
        {replace(document.problem(path, what, hint), level="warning") for path, what, hint in found}
    )


def _problems(document: Document, models: list[type[Any]]) -> list[Problem]:
    problems = unknown_sections(document)
    for model in models:
        problems += _faults(document, model)
        problems += without_value(document, model)
        problems += cross_problems(document, model)
    # A value that could not be read gets no second problem about its meaning.
    unread = {(problem.file, problem.path) for problem in document.problems}
    meant_wrongly = {problem for problem in problems if (problem.file, problem.path) not in unread}
    return sorted({*document.problems, *meant_wrongly})


def entries(document: Document) -> dict[str, int]:
    """The number of names in each section of named entries, for a summary."""
    fields = {name: info for model in owners() for name, info in model.model_fields.items()}
    named = [name for name, info in fields.items() if get_origin(info.annotation) is dict]
    return {name: len(document.data[name]) for name in named if document.data.get(name)}


def unknown_sections(document: Document) -> list[Problem]:
    known = _known_sections()
    return [
        document.problem(
            (section,),
            "unknown section",
            f"indent it below '{place}:', which is empty"
            if place and not meant(section, known)
            else did_you_mean(section, known),
        )
        for section, place in _misplaced(document).items()
    ]


def without_value(document: Document, owner: type[BaseModel]) -> list[Problem]:
    """A problem for each setting written without a value, where that would be the same as omitting it.

    An empty ``ssh:`` would otherwise back up this host in place of another one.
    """
    settings = _understood(document, owner)
    found = [] if settings is None else _empty(settings, ())
    return [
        document.problem(path, "has no value", "write one after the colon, or remove the line")
        for path in found
    ]


def cross_problems(document: Document, owner: type[BaseModel]) -> list[Problem]:
    """Problems between sections, as far as they can be understood."""
    fleet, settings = _understood(document, Fleet), _understood(document, owner)
    findings: list[Finding] = []
    if fleet is not None and settings is not None:
        for each in (settings, *_with_what_is_good_of_faulty_entries(document, settings)):
            with suppress(
                KeyError, AttributeError
            ):  # an entry, or a setting, of which only the name is known
                for finding in each.cross_check(fleet):  # type: ignore[attr-defined]
                    findings.append(finding)  # one by one, to keep those before the error
    return [document.problem(path, what, hint) for path, what, hint in findings]


def _with_what_is_good_of_faulty_entries(document: Document, settings: Settings) -> Iterator[Settings]:
    """For each faulty entry of a section, the settings with only that entry in its section.

    A backup without keys may name an unknown host as well.
    """
    for section, name, model in _entries(type(settings), document.data):
        if name not in set(getattr(settings, section)):
            entry = _good_part(model, document.data[section][name])
            yield settings.model_copy(update={section: _Known({name: entry}, None)})


def _good_part(model: type[BaseModel], data: Any) -> BaseModel:
    """The valid part of ``data``; missing and faulty settings are not among its attributes."""
    good: dict[str, Any] = {}
    for name in model.model_fields.keys() & (data if isinstance(data, dict) else {}):
        with suppress(ValidationError):
            good[name] = _of_one_setting(model, name).validate_python(data[name])
    return model.model_construct(**good)


@cache
def _of_one_setting(model: type[BaseModel], name: str) -> TypeAdapter[Any]:
    kind: Any = model.model_fields[name].annotation
    for constraint in model.model_fields[name].metadata:
        kind = Annotated[kind, constraint]
    return TypeAdapter(kind)


def _known_sections() -> list[str]:
    return [name for model in owners() for name in model.model_fields]


def _misplaced(document: Document) -> dict[str, str]:
    """Sections that no program owns, each with the one that was probably meant, or an empty text."""
    known = _known_sections()
    empty = next((name for name in known if name in document.data and document.data[name] is None), "")
    return {name: meant(name, known) or empty for name in document.data if name not in known}


def _empty(value: Any, path: KeyPath) -> Iterator[KeyPath]:
    """The paths of settings given as null where null is also the default."""
    if isinstance(value, BaseModel):
        for name in value.model_fields_set:
            inner = getattr(value, name)
            if inner is None and type(value).model_fields[name].default is None:
                yield (*path, name)
            else:
                yield from _empty(inner, (*path, name))
    elif isinstance(value, (dict, list, tuple)):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _empty(inner, (*path, key))


def _sections(document: Document, owner: type[BaseModel]) -> dict[str, Any]:
    # An empty section ("hosts:") means the same as a missing one.
    return {name: document.data[name] for name in owner.model_fields if document.data.get(name) is not None}


def _validated(document: Document, owner: type[Settings]) -> Settings | ValidationError:
    """An owner's settings, or their errors. Cached: a document is validated once."""
    if owner not in document.validated:
        try:
            document.validated[owner] = owner.model_validate(_sections(document, owner))
        except ValidationError as error:
            document.validated[owner] = error
    found: Settings | ValidationError = document.validated[owner]
    return found


def _faults(document: Document, owner: type[BaseModel]) -> list[Problem]:
    error = _validated(document, owner)
    if not isinstance(error, ValidationError):
        return []
    located = [(dict(detail), locate(owner, detail["loc"])) for detail in error.errors(include_url=False)]
    misspelt = {
        (*place.path[:-1], meant(str(place.path[-1]), place.beside))
        for detail, place in located
        if detail["type"] == "extra_forbidden"
    }
    problems = [
        _problem(document, detail, place)
        for detail, place in located
        if (detail["type"] != "missing" or place.path not in misspelt) and not _is_an_echo(document, detail)
    ]
    return problems + list(_behind(document, owner, {place.path for _, place in located}))


def _is_an_echo(document: Document, detail: dict[str, Any]) -> bool:
    """Whether a bad name only refers to an entry with that name, which has the same problem."""
    bad_name = isinstance(detail.get("ctx", {}).get("error"), BadNameError)
    named = [section for section in document.data.values() if isinstance(section, dict)]
    return bad_name and detail["loc"][-1] != "[key]" and any(detail["input"] in section for section in named)


def _behind(document: Document, owner: type[BaseModel], faulty: set[KeyPath]) -> Iterator[Problem]:
    """Problems of an entry as a whole, which pydantic only checks once each of its settings is valid."""
    for section, name, model in _entries(owner, document.data):
        below = {str(path[2]) for path in faulty if path[:2] == (section, name) and len(path) > 2}
        for what, hint in _of_the_whole(_good_part(model, document.data[section][name])) if below else ():
            if not any(setting in what + hint for setting in below):  # otherwise that one may be the reason
                yield document.problem((section, name), what, hint)


def _entries(owner: type[BaseModel], data: dict[str, Any]) -> Iterator[tuple[str, str, type[BaseModel]]]:
    """Section, name and model of each entry in the sections of named entries."""
    for section, info in owner.model_fields.items():
        model = get_args(info.annotation)[1] if get_origin(info.annotation) is dict else None
        written = data.get(section)
        if isinstance(model, type) and issubclass(model, BaseModel) and isinstance(written, dict):
            yield from ((section, name, model) for name in written)


def _of_the_whole(entry: BaseModel) -> Iterator[tuple[str, str]]:
    for name, decorator in type(entry).__pydantic_decorators__.model_validators.items():
        if decorator.info.mode == "after":
            try:
                getattr(entry, name)()
            except (AttributeError, TypeError):  # of a setting that is faulty, missing, or the default
                continue
            except SettingError as error:
                yield error.what, error.hint
            except ValueError as error:
                yield str(error), ""


def _problem(document: Document, detail: dict[str, Any], place: Place) -> Problem:
    what, hint = explain({**detail, "own": detail["type"] not in _PYDANTIC_KINDS}, place)
    return document.problem(place.path, what, hint)


class _Known(dict[str, Any]):
    """The valid entries of a section, and the names of its faulty ones; None if they cannot be known."""

    def __init__(self, good: dict[str, Any], names: Iterable[str] | None) -> None:
        super().__init__(good)
        self._names = None if names is None else set(names)
        self.complete = self._names == set(good)

    def __contains__(self, name: object) -> bool:
        return self._names is None or name in self._names


def _understood(document: Document, owner: type[Settings]) -> Settings | None:
    """The settings without their faulty parts; None if too little is left."""
    settings = _validated(document, owner)
    if isinstance(settings, ValidationError):
        settings = _without_what_is_wrong(document, owner, settings)
    return None if isinstance(settings, ValidationError) else _knowing_all_names(document, settings)


def _without_what_is_wrong(
    document: Document, owner: type[Settings], error: ValidationError
) -> Settings | ValidationError:
    data = copy.deepcopy(_sections(document, owner))
    for longest in (None, 2):  # first the faulty settings, then the entries that contain them
        for detail in error.errors():
            _drop(data, locate(owner, detail["loc"]).path[:longest])
        try:
            return owner.model_validate(data)
        except ValidationError as again:
            error = again
    return error


def _drop(data: Any, path: KeyPath) -> None:
    """Remove what stands at ``path``; a list item is kept, so that the paths of later items do not change."""
    for part in path[:-1]:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return
    if path and isinstance(data, dict):
        data.pop(path[-1], None)


def _knowing_all_names(document: Document, settings: Settings) -> Settings:
    meant_elsewhere = set(_misplaced(document).values())
    sections = {
        name: _Known(getattr(settings, name), _names(document.data.get(name), name in meant_elsewhere))
        for name, info in type(settings).model_fields.items()
        if get_origin(info.annotation) is dict
    }
    return settings.model_copy(update=sections)


def _names(section: Any, more_elsewhere: bool) -> Iterable[str] | None:
    if more_elsewhere or not isinstance(section, dict | None):
        return None
    return section or ()


__all__ = ["ConfigError", "Document", "Problem", "check", "load_document", "owners", "read"]
