"""The fleet's name server: knot, with the zone ``test.`` of all its names."""

import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from lab.fleet.enclosure import Enclosure
from lab.processes import LabError, wait_until

ADDRESSES = ("10.77.0.1", "fd77::1")  # of the bridge
CONFIGURATION = """\
server:
  rundir: {folder}
  listen: [{listen}]
database:
  storage: {folder}
log:
  - target: stderr
    any: warning
zone:
  - domain: test.
    file: {folder}/test.zone
    zonefile-load: whole
    journal-content: none
"""
HEAD = """\
$TTL 1
@ SOA lab.fleet hostmaster.lab.fleet {serial} 60 60 3600 1
@ NS lab.fleet
"""


@dataclass
class Names:
    """Answers for ``*.test.`` while the block lasts, and refuses everything else at once."""

    folder: Path
    enclosure: Enclosure
    records: dict[str, tuple[str, ...]] = field(default_factory=dict)  # addresses, by name below "test."
    serial: int = 0
    server: "subprocess.Popen[bytes] | None" = None

    def __enter__(self) -> Self:
        self.folder.mkdir()
        listen = ", ".join(f"{address}@53" for address in ADDRESSES)
        configuration = self.folder / "knot.conf"
        configuration.write_text(CONFIGURATION.format(folder=self.folder, listen=listen))
        self.records["lab.fleet"] = ADDRESSES
        self._write_zone()
        with (self.folder / "log").open("wb") as log:
            self.server = subprocess.Popen(
                self.enclosure.command(["knotd", "--config", configuration]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._wait_for("lab.fleet")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.server is not None:
            self.server.terminate()
            self.server.wait()

    def add(self, records: dict[str, tuple[str, ...]]) -> None:
        """Answer for more names; returns when all are known."""
        assert self.server is not None
        self.records |= records
        self._write_zone()
        self.server.send_signal(signal.SIGHUP)
        if records:
            self._wait_for(next(iter(records)))

    def _write_zone(self) -> None:
        self.serial += 1
        lines = [HEAD.format(serial=self.serial)]
        for name, addresses in self.records.items():
            lines += [f"{name} {'AAAA' if ':' in each else 'A'} {each}\n" for each in addresses]
        unfinished = self.folder / "unfinished"
        unfinished.write_text("".join(lines))
        unfinished.replace(self.folder / "test.zone")

    def _wait_for(self, name: str) -> None:
        first = self.records[name][0]
        wait_until(lambda: self._answer(name) == first, f"the name server to know {name} ({self.folder}/log)")

    def _answer(self, name: str) -> str:
        assert self.server is not None
        if self.server.poll() is not None:
            raise LabError(f"knotd ended:\n{(self.folder / 'log').read_text()}")
        argv = self.enclosure.command(["getent", "ahostsv4", f"{name}.test."])
        answer = subprocess.run(argv, capture_output=True, text=True, check=False).stdout.split()
        return answer[0] if answer else ""
