"""Inventories are data from other machines: whatever is in them, the file keeps its meaning."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleet_config.expected import Expected
from leitstand.settings.config import check, read
from leitstand.settings.document import Document, document_of
from leitstand.settings.fleet import Fleet
from rollout.suggest.entries import MAXIMUM
from rollout.suggest.suggestion import Look, Suggestion, suggest
from rollout.suggest.write import CannotWriteError, new_text
from tests.rollout.suggest.conftest import Fleet as Files

PATH = Path("/etc/leitstand/leitstand.yml")
FILES = [
    "hosts: {web1: {address: 192.0.2.1}, db1: {address: 192.0.2.2}}\n",
    "hosts: {web1: {address: 192.0.2.1}, db1: {address: 192.0.2.2}}\n"
    "stores:\n  disk: {type: folder, path: /srv/backups}\n"
    "services:\n  a.example.org: {name: a, url: 'https://other.example.org/'}\n  # last\n"
    "backups:\n  web1-blog:\n    host: web1\n    sources: [{files: /var/www, exclude: [s]}, {mysql: blog}]\n"
    "    stores: [disk]\n    keys_file: /k\n# end",
    "# top\nstores:\n    disk: {type: folder, path: /srv}\nservices:\nbackups:\n\nhosts:\n"
    "  web1: &h {address: 192.0.2.1}\n  db1: {<<: *h, address: 192.0.2.2, ssh: {user: root}}\n",
]
EVIL = [
    "a: b",
    "x\n  evil: true",
    "*a",
    "&a b",
    "{",
    "]",
    "'",
    '"',
    "# c",
    "!!python/x",
    "\ud800",
    "\u2028",
    "\x85",
    "- x",
    "%TAG",
    "a\\",
    "\t",
    "../..",
    "/var/www/../../etc",
    "",
    "x" * 300,
    "null",
    "yes",
    "1e3",
    "{{ x }}",
    "é",
]
words = st.one_of(st.sampled_from(EVIL), st.text(max_size=12))
names = st.one_of(
    st.sampled_from(["a.example.org", "A.example.org", "b.example.org", "*.example.org", "_", "localhost"]),
    words,
    st.from_regex(r"[a-z0-9-]{1,9}\.[a-z0-9.-]{1,60}", fullmatch=True),
)
paths = st.one_of(
    st.sampled_from(
        ["/", "/var", "/var/www", "/var/www/blog", "/var/www/s/", "/srv/backups/x", "/usr/share/x"]
    ),
    st.builds("/srv/{}/{}".format, words, words),
    words,
)
databases = st.one_of(
    st.sampled_from(["mysql:blog", "mysql:*", "mysql:a@192.0.2.2", "postgresql:x@away", "sqlite:/srv/a.db"]),
    st.builds("{}:{}".format, st.sampled_from(["mysql", "postgresql", "sqlite", "x"]), words),
)
junk = st.one_of(st.none(), st.integers(), st.lists(st.integers(), max_size=2), words)


def item(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {}, optional={name: st.one_of(each, each, each, junk) for name, each in fields.items()}
    )


inventories = st.fixed_dictionaries(
    {},
    optional={
        "virtual_host": st.lists(
            item(server=words, file=paths, name=names, aliases=st.lists(names, max_size=2), root=paths,
                 title=words,
                 listen=st.lists(st.sampled_from(["80", "*:443", "[::]:8443", "x", "99999"]), max_size=2),
                 certificates=st.lists(paths, max_size=1), redirect=st.booleans()), max_size=4),
        "web_application": st.lists(
            item(name=words, path=paths, hosts=st.lists(names, max_size=2), data=st.lists(paths, max_size=2),
                 databases=st.lists(databases, max_size=2)), max_size=4),
        "database": st.lists(
            item(name=st.sampled_from(["MariaDB", "PostgreSQL", "Redis"]),
                 databases=st.lists(words, max_size=2), running=st.booleans()), max_size=2),
        "mail_store": st.lists(item(program=words, path=paths), max_size=2),
        "container_volume": st.lists(
            item(runtime=words, name=words, path=paths, containers=st.lists(words, max_size=2),
                 images=st.lists(words, max_size=2)), max_size=3),
    },
)  # fmt: skip


def proposed(document: Document, looks: dict[str, Look]) -> Suggestion:
    return suggest(document, read(document, Fleet), read(document, Expected), {}, looks)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(st.sampled_from(FILES), inventories, inventories)
def test_file_and_entries_pass_check_and_nothing_more_is_proposed(
    text: str, web1: dict[str, Any], db1: dict[str, Any]
) -> None:
    looks = {"web1": Look(web1), "db1": Look(db1)}
    document = document_of(PATH, text)
    old = copy.deepcopy(document.data)
    made = proposed(document, looks)
    new = new_text(PATH, text, document, made.entries)
    written = document_of(PATH, new)
    assert check(written) == []
    expected = {section: dict(entries or {}) for section, entries in old.items()}
    for entry in made.entries:
        expected.setdefault(entry.section, {})[entry.name] = entry.settings
    assert {section: entries or {} for section, entries in written.data.items()} == expected
    rest = iter(new.split("\n"))
    assert all(line in rest for line in text.split("\n"))
    again = proposed(written, looks)
    assert again.entries == []
    assert set(again.refused) == set(again.uncovered) <= set(made.uncovered)


def test_ten_thousand_virtual_hosts_are_proposed_in_portions(
    fleet: Callable[[str], Files],
) -> None:
    one = fleet("")
    hosts = [
        {"name": f"n{number}.example.org", "listen": ["443"], "root": f"/srv/{number}"}
        for number in range(10_000)
    ]
    one.has("web1", {"virtual_host": hosts})
    one.has("db1", {})
    made = one.json("--write")
    entries = len(made["entries"]["services"]) + len(made["entries"]["backups"])
    assert (entries, made["left_out"], len(made["uncovered"])) == (MAXIMUM, 20_000 - MAXIMUM, 20_000)
    assert one.check()[0] == 0


@pytest.mark.parametrize("evil", EVIL)
def test_no_value_of_an_inventory_gets_out_of_its_place(evil: str) -> None:
    facts = {
        "virtual_host": [
            {"name": "a.example.org", "file": evil, "server": evil, "listen": ["443"], "title": evil}
        ],
        "web_application": [
            {"name": evil, "path": f"/srv/{evil}", "hosts": [evil], "databases": [f"mysql:{evil}"]}
        ],
    }
    document = document_of(PATH, FILES[1])
    made = proposed(document, {"web1": Look(facts)})
    new = new_text(PATH, FILES[1], document, made.entries)
    for line in new.split("\n")[FILES[1].count("\n") :]:
        assert line.isprintable()
    data = document_of(PATH, new).data
    assert set(data) == {"hosts", "stores", "services", "backups"}
    assert not any("evil" in entry for entries in data.values() for entry in entries.values())


def test_a_section_in_braces_gets_no_entries(tmp_path: Path) -> None:
    document = document_of(PATH, "hosts: {web1: {address: 192.0.2.1}}\nservices: {}\n")
    made = proposed(document, {"web1": Look({"virtual_host": [{"name": "a.example.org"}]})})
    with pytest.raises(CannotWriteError):
        new_text(PATH, "hosts: {web1: {address: 192.0.2.1}}\nservices: {}\n", document, made.entries)
