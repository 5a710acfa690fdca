"""Sources that hold far less than at the last run: emptied by mistake, or a disk that is not mounted; and
databases that are gone from a source of all.

How many entries each source had is kept on this host, a small JSON file for each job. It is a cache: without
it the previous run is unknown, and nothing is reported.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from urllib.parse import unquote

from leitstand.files import make_private_folder, write_atomically
from leitstand.settings.models import Model

FEWEST = 10  # of fewer entries half may well go; but not all of them
DATABASES_NAMED = 10
TIMES_TOLD = 7  # runs that report it; then the new number is taken as right


@dataclass(frozen=True)
class Held:
    """The content of a source with these settings before it shrank, and how often it was reported since.

    ``trusted`` counts paths with attributes ``trusted.*``, which only CAP_SYS_ADMIN sees.
    """

    entries: int
    settings: str
    told: int = 0
    databases: Sequence[str] = ()
    trusted: int = 0


class Shrinkage:
    """Takes the sources of a run and says which of them shrank."""

    def __init__(self, known: dict[str, Held] | None = None) -> None:
        self._known = known or {}
        self._now: dict[str, Held] = {}
        self.found: list[str] = []

    @classmethod
    def since(cls, file: Path) -> "Shrinkage":
        """Against the run that was saved there."""
        try:
            return cls({label: Held(**each) for label, each in json.loads(file.read_text()).items()})
        except (OSError, ValueError, TypeError, AttributeError):
            return cls()

    def note(
        self, label: str, settings: Model, entries: int, dumps: Iterable[bytes] = (), trusted: int | None = 0
    ) -> None:
        """A source was read to its end; with other settings it cannot be compared.

        ``trusted`` is None when such attributes would have been seen, and there are none any more.
        """
        digest = hashlib.sha256(settings.model_dump_json().encode()).hexdigest()
        before = self._known.get(label)
        databases = _databases(label, dumps)
        now = self._now[label] = Held(entries, digest, databases=databases, trusted=trusted or 0)
        if before is None or before.settings != digest or before.told >= TIMES_TOLD:
            return
        if trusted is None:
            before = replace(before, trusted=0)
        if what := _less(label, now, before):
            every = sorted({*before.databases, *now.databases})
            most = max(entries, before.entries), max(now.trusted, before.trusted)
            self._now[label] = Held(most[0], digest, before.told + 1, every, most[1])
            self.found.append(what)

    def save(self, file: Path) -> None:
        """Keep the numbers for the next run. Raises OSError."""
        make_private_folder(file.parent)
        text = json.dumps({label: asdict(each) for label, each in self._now.items()}, indent=1)
        write_atomically(file, text, mode=0o600)


def _databases(label: str, dumps: Iterable[bytes]) -> list[str]:
    """The databases of a source of all of them; of one that is named nothing can go unnoticed."""
    if label not in ("mysql", "postgresql"):
        return []
    parts = (path.decode(errors="replace").split("/") for path in dumps)
    return sorted({unquote(each[1]) for each in parts if len(each) > 2})


def _less(label: str, now: Held, before: Held) -> str:
    """The line about content of the last run that is missing; empty when nothing is."""
    if gone := [name for name in before.databases if name not in now.databases]:
        names = ", ".join(gone[:DATABASES_NAMED]) + (", …" if len(gone) > DATABASES_NAMED else "")
        return f"{label}: saved before and now gone: {names}: dropped, or may this user no longer see it?"
    if _is_far_less(now.entries, before.entries):
        now_before = f"{now.entries} entries, {before.entries} before"
        return f"{label}: {now_before}: was it emptied, or is it not mounted?"
    if before.trusted and not now.trusted:
        paths = f"{before.trusted} paths had attributes trusted.*"
        return f"{label}: {paths}, none is seen now: does this run lack CAP_SYS_ADMIN?"
    return ""


def _is_far_less(now: int, before: int) -> bool:
    return 2 * now <= before and (before >= FEWEST or now <= 1 <= before)


def summary(found: Sequence[str]) -> str:
    """One line for `status`; nothing without a finding."""
    more = f" (and {len(found) - 1} more sources)" if len(found) > 1 else ""
    return found[0] + more if found else ""
