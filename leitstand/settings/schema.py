"""The JSON Schema of the whole leitstand.yml, for editors, made from every owner's models."""

from datetime import timedelta
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema

from leitstand.settings.models import DURATION_PATTERN, duration_text

IDENTIFIER = "urn:leitstand:leitstand.yml"
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema(owners: list[type[BaseModel]]) -> dict[str, Any]:
    """One schema (draft 2020-12) with every owner's sections.

    It describes shapes, not relations between sections: `leitstand check` finds more.
    """
    references, definitions = models_json_schema([(owner, "validation") for owner in owners])
    models = definitions["$defs"]
    sections: dict[str, Any] = {}
    for owner in owners:
        reference = references[(owner, "validation")]["$ref"].rpartition("/")[2]
        sections |= {
            name: _or_nothing(schema) for name, schema in models.pop(reference)["properties"].items()
        }
    return _tidy(
        {
            "$schema": DIALECT,
            "$id": IDENTIFIER,
            "description": "Configuration of Leitstand, the control room of a small fleet.",
            "type": "object",
            "properties": sections,
            "additionalProperties": False,
            "$defs": models,
        }
    ) | {"title": "leitstand.yml"}


def _or_nothing(section: dict[str, Any]) -> dict[str, Any]:
    """A section, or its name with an empty value."""
    description = {"description": section["description"]} if "description" in section else {}
    return {**description, "anyOf": [section, {"type": "null"}]}


def _tidy(schema: dict[str, Any]) -> dict[str, Any]:
    """Drop titles and defaults that only repeat others; refuse names that match no pattern."""
    noise = {
        "title": isinstance(schema.get("title"), str),
        "default": isinstance(schema.get("default"), dict | None) and "properties" not in schema,
    }
    tidy = {key: _tidy_value(value) for key, value in _with_a_value(schema).items() if not noise.get(key)}
    if tidy.get("pattern") == DURATION_PATTERN and str(tidy.get("default", "")).startswith("P"):
        # pydantic writes a default as ISO 8601, which the file does not accept.
        tidy["default"] = duration_text(TypeAdapter(timedelta).validate_python(tidy["default"]))
    return tidy | ({"additionalProperties": False} if "patternProperties" in tidy else {})


def _with_a_value(schema: dict[str, Any]) -> dict[str, Any]:
    """Drop null where it means the same as omitting the key: `leitstand check` refuses it."""
    members = [member for member in schema.get("anyOf", []) if member != {"type": "null"}]
    if "default" not in schema or schema["default"] is not None or not members:
        return schema
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    return {**(members[0] if len(members) == 1 else {"anyOf": members}), **rest}


def _tidy_value(value: Any) -> Any:
    if isinstance(value, dict):
        return _tidy(value)
    return [_tidy_value(item) for item in value] if isinstance(value, list) else value
