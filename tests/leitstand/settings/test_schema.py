"""The JSON Schema for editors agrees with the check, as far as a schema can see."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from leitstand.settings.config import ConfigError, load_document, owners
from leitstand.settings.schema import json_schema

HERE = Path(__file__).parent
SCHEMA = json_schema(owners())
# What a schema cannot see: YAML itself, references between sections, and the meaning of texts.
BEYOND_A_SCHEMA = (
    "address-",
    "backup-names-",
    "reference-to-",
    "service-names-",
    "maintenance-names-",
    "regexp-",
    "url-with-",
)
BEYOND_A_SCHEMA += (
    "time-zone-",
    "duration-",
    "mail-",
    "maintenance-ends-",
    "maintenance-without-",
    "keys-missing",
    "webhook-",
)
BEYOND_A_SCHEMA += (
    "schedule-",
    "key-is-a-list",
    "key-twice",
    "merge-of",
    "text-begins-with-exclamation",
    "vault-tag",
)
BEYOND_A_SCHEMA += ("section-twice", "name-in-two", "list-in-one", "huge-number", "typographic-quotes")
BEYOND_A_SCHEMA += ("exporter-certificates-", "exporter-password-alone")
BEYOND_A_SCHEMA += (
    "acme-",
    "managed-",
    "deploy-without-roles",
    "listen-",
    "deploy-allow-",
    "deploy-exception-of",
    "max-parallel-of",
)
BEYOND_A_SCHEMA += ("roles-leitstand-", "roles-page-", "roles-named-", "roles-beside-")


def parsed(source: Path) -> object:
    """The data of a file; None where it is not YAML with sections at all."""
    try:
        return load_document(source).data or None
    except ConfigError:
        return None


SEEN = [
    path
    for path in sorted((HERE / "broken").iterdir())
    if path.suffix != ".expected" and not path.name.startswith(BEYOND_A_SCHEMA) and parsed(path)
]


def test_it_is_a_valid_schema_with_its_own_name_and_no_host_of_ours():
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$id"].startswith("urn:")


@pytest.mark.parametrize("source", sorted((HERE / "good").iterdir()), ids=lambda path: path.name)
def test_a_good_file_fits(source):
    assert [error.message for error in Draft202012Validator(SCHEMA).iter_errors(parsed(source))] == []


@pytest.mark.parametrize("source", SEEN, ids=lambda path: path.name)
def test_a_broken_file_does_not_fit(source):
    assert list(Draft202012Validator(SCHEMA).iter_errors(parsed(source)))


def test_many_broken_files_are_seen_by_the_schema():
    assert len(SEEN) > 50


def test_defaults_in_the_schema_are_what_the_file_would_say():
    checked = {
        f"{name}.{key}": [
            error.message for error in Draft202012Validator(content).iter_errors(content["default"])
        ]
        for name, definition in SCHEMA["$defs"].items()
        for key, content in definition.get("properties", {}).items()
        if content.get("type") == "string" and "default" in content and "pattern" in content
    }
    assert {key: errors for key, errors in checked.items() if errors} == {}
    assert "StatusPage.interval" in checked


def test_the_command_prints_it(leitstand):
    done = leitstand("schema")
    assert done.returncode == 0
    assert json.loads(done.stdout) == json.loads(json.dumps(SCHEMA))
