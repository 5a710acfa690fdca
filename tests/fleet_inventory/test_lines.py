import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.inventory.kinds import KINDS
from fleet_inventory.database import Row
from fleet_inventory.difference import Change
from fleet_inventory.document import item_of, printable
from fleet_inventory.lines import DETAILS, change_line, found, shown


def row(kind: str, **fields: Any) -> Row:
    return Row("web1", item_of(kind, printable(fields)), 0.0, None)


def test_the_fields_of_a_line_are_those_that_the_exporter_sends() -> None:
    for kind, names in DETAILS.items():
        assert set(names) <= set(KINDS[kind].fields), kind


@pytest.mark.parametrize(
    ("kind", "fields", "line"),
    [
        (
            "package",
            {"name": "openssl", "version": "3.0.22-1", "manager": "dpkg", "arch": "amd64", "path": ""},
            "openssl|3.0.22-1|dpkg|amd64",
        ),
        (
            "certificate",
            {"path": "/a.pem", "fingerprint": "ab12", "not_after": 1795504377, "names": ["a", "b"]},
            "/a.pem|not_after=2026-11-24|names=a,b",
        ),
        (
            "user",
            {"name": "anna", "uid": 1000, "shell": "/bin/sh", "sudo": None},
            "anna|uid=1000|shell=/bin/sh|sudo=unknown",
        ),
        (
            "update",
            {"name": "a", "version": "1", "candidate": "2", "security": True, "held": False},
            "a|1|candidate=2|security=true|held=false",
        ),
        ("certificate", {"path": "/a.pem", "not_after": 2**60}, f"/a.pem|not_after={2**60}"),
        ("virtual_host", {"name": "", "server": "nginx", "root": "/srv/a"}, "-|server=nginx|root=/srv/a"),
        ("of_tomorrow", {"name": "a", "version": "1", "colour": "red"}, "a|1|colour=red"),
    ],
)
def test_a_line_names_the_important_facts_of_an_item(kind: str, fields: dict[str, Any], line: str) -> None:
    assert shown(row(kind, **fields)) == line.replace("|", "\t")


def test_a_search_result_names_its_kind() -> None:
    application = row("web_application", name="WordPress", version="6.8", path="/srv/blog", php=["8.2"])
    assert found(application) == "WordPress\t6.8\tweb_application\tpath=/srv/blog\tphp=8.2"


def test_changes_are_described_by_their_important_fields() -> None:
    old = row("certificate", path="/a.pem", fingerprint="a", not_before=0, not_after=86_400).item
    new = row("certificate", path="/a.pem", fingerprint="b", not_before=1, not_after=172_800).item
    assert change_line(Change(old, new)) == "~ certificate\t/a.pem\tnot_after: 1970-01-02 → 1970-01-03"
    anna = row("user", name="anna", uid=1000, sudo=False).item
    root = row("user", name="anna", uid=1000, sudo=True).item
    assert change_line(Change(anna, root)) == "~ user\tanna\tsudo: false → true"
    assert change_line(Change(None, root)) == "+ user\tanna\tuid=1000\tsudo=true"
    moved = [row("package", name="a", version="1", installed=day).item for day in (0, 86_400)]
    assert change_line(Change(*moved)) == "~ package\ta\tinstalled: 1970-01-01 → 1970-01-02"


VALUES = st.none() | st.booleans() | st.integers(0, 2**40) | st.text() | st.lists(st.text(), max_size=3)


@settings(max_examples=150, derandomize=True)
@given(st.sampled_from([*KINDS, "x"]), st.data())
def test_anything_from_an_exporter_is_one_line(kind: str, data: st.DataObject) -> None:
    names = [*KINDS[kind].fields] if kind in KINDS else ["name", "x"]
    fields = data.draw(st.fixed_dictionaries({}, optional=dict.fromkeys(names, VALUES)))
    for line in (shown(row(kind, **fields)), found(row(kind, **fields))):
        assert line.replace("\t", "").isprintable(), json.dumps(fields)
