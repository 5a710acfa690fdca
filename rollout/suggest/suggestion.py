"""What is not cared for, and the entries that would care for it. Pure but for the settings models."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from fleet_config.expected import Expected
from leitstand.settings.config import check
from leitstand.settings.document import Document
from leitstand.settings.fleet import Fleet
from rollout.suggest.coverage import Coverage, coverage
from rollout.suggest.data import data
from rollout.suggest.entries import MAXIMUM, Entry, Jobs, service_entries
from rollout.suggest.services import public_names, services
from rollout.suggest.thing import KINDS, SERVICE, Facts, Thing, text, texts

ALL_OF_HOST = "*"  # as ITEM in an exception
_NO_STORE = "no store is defined: add one under stores: first"
_SECTIONS = ("services", "backups")


@dataclass(frozen=True)
class Look:
    """What is known of a host. ``unknown`` says in words what is not, and is empty where all is."""

    facts: Facts = field(default_factory=dict)
    unknown: str = ""


@dataclass
class Suggestion:
    """``refused`` are things for which nothing can be proposed, with the reason; ``left_out`` counts entries.

    ``without_object`` are exceptions for what is not there.
    """

    unknown: dict[str, str]
    uncovered: list[Thing]
    entries: list[Entry]
    refused: dict[Thing, str]
    without_object: list[str]
    left_out: int

    def counts(self) -> dict[tuple[str, str], int]:
        """(host, kind) -> how many things are uncovered, for all that is known."""
        found: dict[tuple[str, str], int] = {}
        for thing in self.uncovered:
            key = (thing.host, thing.kind)
            found[key] = found.get(key, 0) + 1
        return found


def suggest(
    document: Document,
    fleet: Fleet,
    expected: Expected,
    exceptions: Mapping[str, str],
    looks: dict[str, Look],
    hosts: Collection[str] = (),
) -> Suggestion:
    """What to add to a file without problems: for these hosts, or for all."""
    excepted = [host for host in looks if f"{host}/{ALL_OF_HOST}" in exceptions]
    looks = looks | dict.fromkeys(excepted, Look())
    asked = {host: look for host, look in looks.items() if host in hosts or not hosts}
    things, cared_for = list(unique(found(fleet, looks))), coverage(fleet, expected)
    uncovered = [thing for thing in things if thing.key not in exceptions and cared_for.job_of(thing) is None]
    entries = [
        entry
        for entry in entries_for(uncovered, fleet, expected, cared_for, served_as(looks))
        if any(thing.host in asked for thing in entry.things)
    ]
    good, refused = valid(document, entries[:MAXIMUM])
    proposed = {thing for entry in entries for thing in entry.things}
    mine = [thing for thing in uncovered if thing.host in asked]
    return Suggestion(
        {host: look.unknown for host, look in asked.items() if look.unknown},
        mine,
        good,
        {thing: why_nothing(thing, expected) for thing in mine if thing not in proposed} | refused,
        list(without_object(exceptions, things, asked)),
        len(entries[MAXIMUM:]),
    )


def entries_for(
    things: Iterable[Thing],
    fleet: Fleet,
    expected: Expected,
    cared_for: Coverage,
    served: Mapping[tuple[str, str], str],
) -> list[Entry]:
    """Services and jobs for things, of all hosts: one entry may be about several."""
    jobs = Jobs(expected, cared_for)
    for thing in things:
        if thing.kind != SERVICE and expected.stores:
            jobs.add(thing, served.get((thing.host, thing.label), ""))
    return [*service_entries(things, fleet.services), *jobs.entries.values()]


def found(fleet: Fleet, looks: Mapping[str, Look]) -> Iterator[Thing]:
    """Everything that should be cared for, of all hosts."""
    machines = Machines(fleet, looks)
    for host, look in looks.items():
        yield from services(host, look.facts)
        yield from data(host, look.facts, partial(machines.host_of, host))


class Machines:
    """Which host is meant by a name or address: by leitstand.yml, else by what one host says of itself."""

    def __init__(self, fleet: Fleet, looks: Mapping[str, Look]) -> None:
        self._named = {host.address.lower(): name for name, host in fleet.hosts.items()}
        self._named |= {name.lower(): name for name in fleet.hosts}
        self._claimed: dict[str, set[str]] = {}
        for host, look in looks.items():
            for kind, names in (("host", ("hostname", "fqdn")), ("address", ("address",))):
                for fields in look.facts.get(kind, []):
                    for each in filter(None, (text(fields, name).lower() for name in names)):
                        self._claimed.setdefault(each, set()).add(host)

    def host_of(self, asking: str, name: str) -> str:
        """The host that ``asking`` means by ``name``; empty if it is none, or could be several.

        An address of its own comes first: that of a container's bridge is the same everywhere.
        """
        claimed = self._claimed.get(name.lower(), set())
        if asking in claimed:
            return asking
        return self._named.get(name.lower()) or (next(iter(claimed)) if len(claimed) == 1 else "")


def unique(things: Iterable[Thing]) -> Iterator[Thing]:
    """Each thing once: the first that names it knows most of it."""
    seen: set[tuple[str, str, str]] = set()
    for thing in things:
        if (key := (thing.host, thing.kind, thing.name)) not in seen:
            seen.add(key)
            yield thing


def served_as(looks: Mapping[str, Look]) -> dict[tuple[str, str], str]:
    """Host and folder -> a name that it is served as, to name a job after."""
    known: dict[tuple[str, str], str] = {}
    for host, look in looks.items():
        for fields in look.facts.get("web_application", []):
            for name in texts(fields, "hosts")[:1]:
                known.setdefault((host, text(fields, "path").rstrip("/")), name)
        for fields in look.facts.get("virtual_host", []):
            for name in public_names(fields)[:1]:
                known.setdefault((host, text(fields, "root").rstrip("/")), name)
    return known


def without_object(
    exceptions: Mapping[str, str], things: Iterable[Thing], looks: Mapping[str, Look]
) -> Iterator[str]:
    """Exceptions for what is not on a host, as far as that is known."""
    keys = {thing.key for thing in things}
    for key in exceptions:
        host, _, item = key.partition("/")
        if host in looks and not looks[host].unknown and item != ALL_OF_HOST and key not in keys:
            yield key


def why_nothing(thing: Thing, expected: Expected) -> str:
    """Why there is no entry for a thing."""
    if thing.kind != SERVICE and thing.source and not expected.stores:
        return _NO_STORE
    if "@" in thing.name:
        return "its server is no host of leitstand.yml: add the host, or an exception"
    return "its name cannot be written in leitstand.yml"


def valid(document: Document, entries: list[Entry]) -> tuple[list[Entry], dict[Thing, str]]:
    """The entries with which the file passes `leitstand check`, and why the others would not."""
    refused: dict[Thing, str] = {}
    while entries:
        wrong = faulty(document, entries)
        if not wrong:
            break
        for entry in entries:
            refused |= dict.fromkeys(entry.things, wrong.get((entry.section, entry.name), ""))
        refused = {thing: why for thing, why in refused.items() if why}
        entries = [entry for entry in entries if (entry.section, entry.name) not in wrong]
    return entries, refused


def faulty(document: Document, entries: list[Entry]) -> dict[tuple[str, str], str]:
    """Section and name of each entry with which the file would have a problem, and what that is.

    A problem of none of them is theirs all the same: without them there was none.
    """
    found: dict[tuple[str, str], str] = {}
    problems = check(merged(document, entries))
    for problem in problems:
        near = [
            entry
            for entry in entries
            if f"{problem.path}.".startswith(f"{entry.section}.{entry.name}.")
            or problem.path.startswith(f"{entry.section}.{entry.name}[")
        ]
        for entry in sorted(near, key=lambda entry: len(entry.name))[-1:]:
            found.setdefault((entry.section, entry.name), problem.what)
    if problems and not found:
        found = {(entry.section, entry.name): problems[0].what for entry in entries}
    return found


def merged(document: Document, entries: Iterable[Entry]) -> Document:
    """The document with the entries in it."""
    data = dict(document.data)
    for section in _SECTIONS:
        new = {entry.name: entry.settings for entry in entries if entry.section == section}
        if new:
            data[section] = {**(data.get(section) or {}), **new}
    return Document(document.source, data)


def kinds_of(suggestion: Suggestion, host: str) -> Iterator[tuple[str, int]]:
    """Each kind with the number of things of a host that are uncovered; nothing where that is unknown."""
    counts = suggestion.counts()
    if host not in suggestion.unknown:
        yield from ((kind, counts.get((host, kind), 0)) for kind in KINDS)
