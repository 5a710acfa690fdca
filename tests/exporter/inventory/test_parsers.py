"""Any text at all, given to the parsers that no other property holds: a result or a refusal, nothing else."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.inventory import (
    apk,
    applications,
    containers,
    dpkg,
    fpm,
    listeners,
    php,
    php_ini,
    runner,
    systemd,
)
from exporter.inventory.source import Findings
from exporter.inventory.virtual_host import backend

PARSERS: dict[str, Callable[[str], object]] = {
    "apk's world": apk.parse_world,
    "applications": lambda text: [
        applications.parse_version(text, (*mark.patterns, mark.where or "()")) for mark in applications.MARKS
    ],
    "a package of dpkg": lambda text: [
        (dpkg.parse_package(fields), dpkg.is_malformed(fields)) for fields in dpkg.stanzas(f"Status: {text}")
    ],
    "sockets": fpm.parse_listening,
    "a branch of PHP": fpm.branch_of,
    "a PHP program": lambda text: php.parse_version(b"X-Powered-By: PHP/" + text.encode()),
    "extensions": php.parse_extensions,
    "modules": php.parse_modules,
    "the name of an extension": php_ini.extension_name,
    "ports": listeners.parse_range,
    "an answer of the worker": lambda text: runner.parse_line(text.encode()),
    "a timer": lambda text: systemd.parse_timer({"Id": text, "LastTriggerUSec": f"{text} UTC"}),
    "a backend": backend,
}
TEXT = st.text(max_size=120) | st.text(alphabet=st.sampled_from("a1.:=/-@#'\"\\ \t\n{}[],0"), max_size=120)


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=80, derandomize=True)
@given(TEXT)
def test_any_text_is_understood_or_refused(name: str, text: str) -> None:
    try:
        PARSERS[name](text)
    except ValueError:
        return


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Id", "RepoTags", "Created", "Names", "Image", "part", "source", "duration"]),
            inner,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=200, derandomize=True)
@given(JSON)
def test_any_json_of_a_container_engine_is_understood_or_skipped(raw: object) -> None:
    findings = Findings()
    containers.add_images(findings, "docker", raw)
    containers.add_containers(findings, "docker", raw)
    assert findings.skipped <= 2 * len(raw) if isinstance(raw, list) else not findings.skipped
    assert all(isinstance(item["name"], str) for _, item in findings.items)
    try:
        runner.parse_line(json.dumps(raw).encode())
    except ValueError:
        return
