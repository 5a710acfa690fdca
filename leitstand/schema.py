"""The JSON Schema of the whole leitstand.yml, for editors, made from every owner's models."""

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

IDENTIFIER = "urn:leitstand:leitstand.yml"
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema(owners: list[type[BaseModel]]) -> dict[str, Any]:
    """One schema (draft 2020-12) with every owner's sections.

    It knows shapes, not what lies between sections: `leitstand check` says more.
    """
    references, definitions = models_json_schema([(owner, "validation") for owner in owners])
    models = definitions["$defs"]
    sections: dict[str, Any] = {}
    for owner in owners:
        reference = references[(owner, "validation")]["$ref"].rpartition("/")[2]
        sections |= {
            name: _or_nothing(schema) for name, schema in models.pop(reference)["properties"].items()
        }
    return {
        "$schema": DIALECT,
        "$id": IDENTIFIER,
        "title": "leitstand.yml",
        "description": "Configuration of Leitstand, the control room of a small fleet.",
        "type": "object",
        "properties": sections,
        "additionalProperties": False,
        "$defs": models,
    }


def _or_nothing(section: dict[str, Any]) -> dict[str, Any]:
    """A section, or its name with nothing below it."""
    description = {"description": section["description"]} if "description" in section else {}
    return {**description, "anyOf": [section, {"type": "null"}]}
