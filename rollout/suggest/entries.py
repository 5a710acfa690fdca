"""The entries of leitstand.yml that would care for things: services, and jobs for what belongs together."""

import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from fleet_config.expected import Expected
from leitstand.settings.models import NAME_PATTERN
from rollout.suggest.coverage import Coverage
from rollout.suggest.data import label_of
from rollout.suggest.thing import SERVICE, Thing

MAXIMUM = 500  # entries of one run; a file of 10,000 services would be none that a person reads
_KEEP = {"daily": 7, "weekly": 4, "monthly": 12}
_KEYS_FILE = "/etc/leitstand/keys"
_SCHEDULE = "daily 03:00"
_ACCESS = {
    "mysql": ("defaults_file",),
    "postgresql": ("service", "service_file", "password_file", "host", "port", "user"),
}
_LONGEST_NAME = 60  # leaves room for a number behind it


@dataclass
class Entry:
    """One entry of a section, with the things that it cares for."""

    section: str
    name: str
    settings: dict[str, Any]
    things: list[Thing] = field(default_factory=list)

    @property
    def reasons(self) -> list[str]:
        """Why, and what was found where: one line each."""
        return list(dict.fromkeys(f"{thing.host}: {thing.name}, {thing.why}" for thing in self.things))


class Names:
    """Names for new entries, none of them given twice."""

    def __init__(self, taken: Collection[str]) -> None:
        self._taken = set(taken)
        self._next: Counter[str] = Counter()

    def new(self, wanted: str) -> str:
        """``wanted`` as a name, with a number behind it if that is taken."""
        plain = re.sub(r"[^a-z0-9._-]+", "-", wanted.lower())[:_LONGEST_NAME].strip("._-") or "found"
        name = plain
        while name in self._taken or not NAME_PATTERN.fullmatch(name):
            self._next[plain] += 1
            name = f"{plain}-{self._next[plain] + 1}"
        self._taken.add(name)
        return name


def service_entries(things: Iterable[Thing], taken: Collection[str]) -> list[Entry]:
    """A service for each name; one that several hosts have is one service."""
    names = Names(taken)
    found: dict[str, Entry] = {}
    for thing in things:
        if thing.kind != SERVICE or not thing.url:
            continue
        if (entry := found.get(thing.name)) is None:
            settings = {"name": thing.name, "url": thing.url}
            settings |= {"expect": thing.expect} if thing.expect else {}
            entry = found[thing.name] = Entry("services", names.new(thing.name), settings | {"hosts": []})
        if thing.host not in entry.settings["hosts"]:
            entry.settings["hosts"].append(thing.host)
        entry.things.append(thing)
    return list(found.values())


class Jobs:
    """Collects jobs; each thing joins the one of its group, or of the folder that it is in."""

    def __init__(self, expected: Expected, coverage: Coverage) -> None:
        self._expected, self._coverage = expected, coverage
        self._names = Names(expected.backups)
        self._of_group: dict[tuple[str, str], Entry] = {}
        self.entries: dict[str, Entry] = {}

    def add(self, thing: Thing, served: str) -> None:
        """Let a job save a thing, unless one that was added before does already."""
        group = (thing.host, thing.group)
        if (job := self._coverage.job_of(thing)) is not None:
            if job in self.entries:
                self._of_group.setdefault(group, self.entries[job])
                self.entries[job].things.append(thing)
            return
        if not thing.source:
            return
        entry = self._of_group.get(group) or self._begin(thing, served)
        self._of_group[group] = entry
        entry.settings["sources"].append(thing.source | self._access(thing))
        entry.things.append(thing)
        self._coverage.cover(thing.host, thing.source, entry.name)

    def _begin(self, thing: Thing, served: str) -> Entry:
        name = self._names.new(f"{thing.host}-{label_of(thing.group, served)}")
        entry = Entry("backups", name, job_settings(thing.host, self._expected))
        self.entries[name] = entry
        return entry

    def _access(self, thing: Thing) -> dict[str, Any]:
        """How other jobs of the host log in to the same kind of server, as the file has it."""
        for job in self._expected.backups.values():
            for source in job.sources if job.host == thing.host else ():
                written = source.model_dump(mode="json", exclude_none=True)
                for engine, names in _ACCESS.items():
                    if engine in written and engine in thing.source:
                        return {name: written[name] for name in names if name in written}
        return {}


def job_settings(host: str, expected: Expected) -> dict[str, Any]:
    """A job without sources, with stores and keys as most others have them."""
    jobs, stores = expected.backups, list(expected.stores)
    usual = Counter(tuple(job.stores) for job in jobs.values()).most_common(1)
    like = next((job for job in jobs.values() if usual and tuple(job.stores) == usual[0][0]), None)
    keys: dict[str, Any] = {"keys_file": str(like.keys_file) if like and like.keys_file else _KEYS_FILE}
    if like and like.keys_command:
        keys = {"keys_command": list(like.keys_command)}
    return {
        "host": host,
        "sources": [],
        "stores": list(like.stores) if like else stores[:1],
        **keys,
        "schedule": _SCHEDULE,
        "keep": dict(_KEEP),
    }
