"""What the services and jobs of leitstand.yml care for already."""

import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from fleet_config.expected import Expected
from leitstand.patterns import Patterns
from leitstand.settings.fleet import Fleet
from rollout.suggest.data import ALL
from rollout.suggest.thing import SERVICE, Thing

_ENGINES = ("mysql", "postgresql")


@dataclass
class Folder:
    """A ``files`` source: what it leaves out, what it is limited to, and the job that has it."""

    exclude: Patterns
    include: Patterns
    job: str

    def holds(self, root: str, path: str) -> bool:
        """Whether it saves the folder ``path``, which is ``root`` or below it."""
        steps = posixpath.relpath(path, root).split("/") if path != root else []
        ways = ["/".join(steps[: count + 1]) for count in range(len(steps))]
        if any(self.exclude.match(way, True) for way in ways):
            return False
        return self.include.empty or not ways or any(self.include.match(way, True) for way in ways)


@dataclass
class Coverage:
    """What is cared for, by host; ``cover`` adds to it."""

    names: set[str] = field(default_factory=set)
    folders: dict[tuple[str, str], list[Folder]] = field(default_factory=dict)
    databases: dict[tuple[str, str], str] = field(default_factory=dict)

    def cover(self, host: str, source: dict[str, Any], job: str) -> None:
        """A job saves this source of a host."""
        if (path := source.get("files")) is not None:
            root = str(path).rstrip("/") or "/"
            folder = Folder(
                Patterns(source.get("exclude", ()), root.rstrip("/")),
                Patterns(source.get("include", ()), root.rstrip("/")),
                job,
            )
            self.folders.setdefault((host, root), []).append(folder)
        for kind in ("sqlite", *_ENGINES):
            if kind in source:
                self.databases.setdefault((host, f"{kind}:{source[kind]}"), job)

    def job_of(self, thing: Thing) -> str | None:
        """The job or service that cares for a thing; None if none does."""
        if thing.kind == SERVICE:
            return next((name for name in thing.names if name in self.names), None)
        if thing.label.startswith("/") and thing.name.startswith("/"):
            return next(self._jobs_with(thing.host, thing.label), None)
        engine, _, name = thing.name.partition(":")
        plain = name if engine == "sqlite" else name.partition("@")[0]
        known = [f"{engine}:{plain}", f"{engine}:{ALL}"]
        return next((job for each in known if (job := self.databases.get((thing.host, each)))), None)

    def _jobs_with(self, host: str, path: str) -> Iterator[str]:
        for root in (path, *ancestors(path)):
            yield from (
                folder.job for folder in self.folders.get((host, root), ()) if folder.holds(root, path)
            )


def ancestors(path: str) -> Iterator[str]:
    """The folders above one, up to the root."""
    while path not in ("/", ""):
        path = posixpath.dirname(path)
        yield path


def coverage(fleet: Fleet, expected: Expected) -> Coverage:
    """What leitstand.yml cares for; the status page is watched without being a service."""
    urls = [*(service.url for service in fleet.services.values()), *filter(None, [fleet.site.url])]
    found = Coverage(set(probed(urls)))
    for name, job in expected.backups.items():
        for source in job.sources:
            found.cover(job.host, source.model_dump(), name)
    return found


def probed(urls: Iterable[str]) -> Iterator[str]:
    """The host name in each URL, in one spelling."""
    for url in urls:
        yield (urlsplit(url).hostname or "").rstrip(".").lower()
