"""Every roll-out in a folder of its own, numbered by a counter, so that an earlier one can be replayed.

``NNNNNN/``: ``leitstand.yml``, ``inventory.json``, ``rendered/HOST/…``, ``ansible/`` (the roles of its
release) and, written last, ``outcome.json``. A folder without an outcome is of a run that did not finish.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from leitstand.errors import LeitstandError
from leitstand.files import write_atomically
from rollout.numbered import next_numbered, numbered

FOLDER = Path("/var/lib/leitstand/deployments")
_GOOD_ONES_KEPT = 3


@dataclass(frozen=True)
class Outcome:
    """How a roll-out ended; ``problems`` has a line per host that is not as wanted."""

    good: bool
    release: str
    configurations: dict[str, str]  # host → hash
    problems: dict[str, str]
    by: str
    ended: str  # UTC, for people; the order is the folder's number
    stopped: str = ""  # why hosts were left as they were
    done: list[str] = field(default_factory=list)  # hosts that were as wanted at its end
    monitoring: str = ""  # hash of what Prometheus loads
    without_gate: str = ""  # why the gate was not waited for


@dataclass(frozen=True)
class Deployment:
    """One roll-out on disk."""

    folder: Path

    @property
    def number(self) -> int:
        """Its place in the order of all roll-outs."""
        return int(self.folder.name)

    @property
    def config(self) -> Path:
        """The leitstand.yml it was made of, a file or a folder."""
        return self.folder / "leitstand.yml"

    @property
    def rendered(self) -> Path:
        """A folder per host with what was rendered for it."""
        return self.folder / "rendered"

    @property
    def inventory(self) -> Path:
        """The Ansible inventory."""
        return self.folder / "inventory.json"

    @property
    def ansible(self) -> Path:
        """The playbooks and roles of its release."""
        return self.folder / "ansible"

    def outcome(self) -> Outcome | None:
        """How it ended; None if it did not finish, or its record is unreadable."""
        try:
            return Outcome(**json.loads((self.folder / "outcome.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def roles(self) -> tuple[dict[str, list[str]], str]:
        """Host → its roles in the order of leitstand.yml, and the leitstand host, from the inventory."""
        roles = {host: list(given["leitstand_roles"]) for host, given in self._inventory()["hosts"].items()}
        return roles, next(host for host, given in roles.items() if "leitstand" in given)

    @property
    def share(self) -> float:
        """The part of the hosts that may be changed at once."""
        return int(str(self._inventory()["vars"]["leitstand_max_parallel"]).rstrip("%")) / 100

    @property
    def keys_files(self) -> list[Path]:
        """The files of the backups' master keys."""
        return [Path(path) for path in self._inventory()["vars"].get("leitstand_keys_files", [])]

    def _inventory(self) -> Any:
        return json.loads(self.inventory.read_text(encoding="utf-8"))["all"]

    def remove(self) -> None:
        """Remove it: it was only tried."""
        shutil.rmtree(self.folder)

    def end(self, outcome: Outcome) -> None:
        """Record how it ended."""
        write_atomically(self.folder / "outcome.json", json.dumps(asdict(outcome), indent=1) + "\n", 0o600)


class Deployments:
    """The roll-outs of this leitstand host."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder

    def all(self) -> list[Deployment]:
        """The oldest first."""
        return [Deployment(path) for path in numbered(self._folder)]

    def last_good(self, release: str | None = None) -> Deployment | None:
        """The last that ended well, of one release or of any."""
        for deployment in reversed(self.all()):
            outcome = deployment.outcome()
            if outcome and outcome.good and release in (None, outcome.release):
                return deployment
        return None

    def last_of_hosts(self) -> dict[str, tuple[Deployment, Outcome]]:
        """Host → the newest that ended well on it: what it should run, and goes back to.

        One that failed counts for the hosts that it had finished; one for some hosts, for those alone. Hosts
        that are no longer in leitstand.yml are left out.
        """
        ended = [(one, outcome) for one in reversed(self.all()) if (outcome := one.outcome())]
        hosts = ended[0][1].configurations if ended else {}
        found: dict[str, tuple[Deployment, Outcome]] = {}
        for one, outcome in ended:
            for host in outcome.done:
                if host in hosts:
                    found.setdefault(host, (one, outcome))
        return found

    def new(self) -> Deployment:
        """A new, empty folder with the next number."""
        return Deployment(next_numbered(self._folder))

    def again(self, earlier: Deployment) -> Deployment:
        """A copy of an earlier one with the next number; its inventory names the new folder."""
        new = self.new()
        shutil.copytree(
            earlier.folder, new.folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("outcome.json")
        )
        text = new.inventory.read_text(encoding="utf-8")
        new.inventory.write_text(text.replace(str(earlier.folder), str(new.folder)), encoding="utf-8")
        return new

    def clean_up(self) -> None:
        """Keep the last three good ones, what came after them, and what a host may go back to."""
        good = [one for one in self.all() if (outcome := one.outcome()) and outcome.good]
        needed = [one for one, _ in self.last_of_hosts().values()]
        if len(good) > _GOOD_ONES_KEPT:
            for one in self.all():
                if one.number < good[-_GOOD_ONES_KEPT].number and one not in needed:
                    shutil.rmtree(one.folder)

    @contextmanager
    def locked(self, by: str, now: str) -> Iterator[None]:
        """Keep every other run out. The lock ends with its process, so a dead run leaves none.

        Raises LeitstandError, which names the other run's owner and time.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._folder / "lock").open("a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.seek(0)
                owner = file.read().strip() or "an unknown owner"
                raise LeitstandError(
                    f"another roll-out is running: {owner}", "wait for its end; a dead run holds no lock"
                ) from error
            file.truncate(0)
            file.write(f"{by}, since {now}, process {os.getpid()}\n")
            file.flush()
            yield
