"""Arrays of devices: software RAID (/proc/mdstat, sysfs) and bonded network devices."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from prometheus_client.registry import Collector

from exporter.exposition import Family
from exporter.files import Files
from exporter.roots import NoData, Roots
from exporter.skipped import Skipped

# The words of mdstat (md_seq_show in drivers/md/md.c) and our states for them.
_ACTIVITIES = {"recovery": "recovering", "resync": "resync", "check": "check", "reshape": "reshaping"}
_STATES = ("active", "inactive", "recovering", "resync", "check")
# Linux 6.3 and later write "broken"; as in node_exporter, such an array is in none of the states above.
_ARRAY = re.compile(r"(\S+) : (active|inactive|broken)(?: \([a-z-]+\))?(?: (.*))?")
_BLOCKS = re.compile(r"\s+(\d+) blocks")
_REQUIRED = re.compile(r"\[(\d+)/(\d+)\]")
_PROGRESS = re.compile(
    r"(recovery|resync|check|reshape)\s*=\s*(?:[\d.]+%\s*\((\d+)/\d+\)|DELAYED|PENDING|REMOTE)"
)
# Lines that are not arrays; the last is written by unRAID's own driver, which has no arrays.
_HEADING = re.compile(r"(?:Personalities|read_ahead|unused devices|event)\b|\w+(?:\.\d+)?=")
_NOT_ACTIVE = ("S", "F", "R", "J")  # spare, failed, replacement, journal


@dataclass
class Array:
    """One array of mdstat; blocks are of 1 KiB."""

    name: str
    state: str
    active: int = 0
    required: int = 0
    failed: int = 0
    spare: int = 0
    blocks: int = 0
    synced: int = 0


class SoftwareRaid(Collector):
    """node_md_*."""

    def __init__(self, roots: Roots) -> None:
        self._files, self._sys = roots.proc_files, roots.sys_files
        self.skipped = Skipped()

    def collect(self) -> Iterable[Family]:
        try:
            content = self._files.read("mdstat").decode("utf-8", "replace")
        except FileNotFoundError as error:
            raise NoData("no software RAID") from error
        arrays = parse_arrays(content, self.skipped)
        disks = Family("node_md_disks", "gauge", "Disks of the array, by state.", ("device", "state"))
        states = Family("node_md_state", "gauge", "Whether the array is in this state.", ("device", "state"))
        required = Family("node_md_disks_required", "gauge", "Disks the array should have.", ("device",))
        blocks = Family("node_md_blocks", "gauge", "Blocks of the array.", ("device",))
        synced = Family("node_md_blocks_synced", "gauge", "Blocks that are synchronised.", ("device",))
        for array in arrays:
            for state, count in (("active", array.active), ("failed", array.failed), ("spare", array.spare)):
                disks.add(count, array.name, state)
            for state in _STATES:
                states.add(int(state == array.state), array.name, state)
            required.add(array.required, array.name)
            blocks.add(array.blocks, array.name)
            synced.add(array.synced, array.name)
        return disks, required, states, blocks, synced, *self._from_sysfs()

    def _from_sysfs(self) -> Iterable[Family]:
        """The kernel's count of missing disks (Documentation/admin-guide/md.rst)."""
        members = Family("node_md_raid_disks", "gauge", "Disks of the complete array.", ("device",))
        missing = Family("node_md_degraded", "gauge", "Disks that the array lacks.", ("device",))
        for name in self._names():
            if (count := self._number(f"block/{name}/md/raid_disks")) is not None:
                members.add(count, name)
            lost = self._number(f"block/{name}/md/degraded")
            if lost is None and self._has_no_spare(name):
                lost = 0
            if lost is not None:
                missing.add(lost, name)
        return members, missing

    def _names(self) -> list[str]:
        try:
            return [name for name in self._sys.names("block") if name.startswith("md")]
        except OSError:
            return []

    def _number(self, path: str) -> int | None:
        """The number; the first of two, as the former one follows it while an array is reshaped."""
        try:
            return int(self._sys.attribute(path).split()[0])
        except (OSError, ValueError, IndexError):
            return None

    def _has_no_spare(self, name: str) -> bool:
        """Whether this is an array without redundancy, which cannot lose a disk."""
        try:
            return self._sys.attribute(f"block/{name}/md/level") in (b"raid0", b"linear")
        except OSError:
            return False


def parse_arrays(content: str, skipped: Skipped) -> list[Array]:
    arrays = skipped.each("mdstat", _blocks(content), _parse_array)
    return list(skipped.unique("mdstat", ((array.name, array) for array in arrays)).values())


def _blocks(content: str) -> list[list[str]]:
    """The lines of each array, separated by blank lines or by lines that are not indented."""
    blocks: list[list[str]] = []
    is_open = False
    for line in content.split("\n"):
        if not line.strip() or _HEADING.match(line):
            is_open = False
        elif is_open and line[0].isspace():
            blocks[-1].append(line)
        else:
            blocks.append([line])
            is_open = True
    return blocks


def _parse_array(lines: list[str]) -> Array:
    match = _ARRAY.fullmatch(lines[0].rstrip())
    if match is None:
        raise ValueError(f"not an array: {lines[0][:80]!r}")
    array = _begin(match[1], match[2], match[3] or "")
    counts = [line for line in lines[1:] if _BLOCKS.match(line)]
    if len(counts) != 1 and array.active:
        raise ValueError(f"{len(counts)} lines of blocks: {lines[0][:80]!r}")
    for line in lines[1:]:
        _continue(array, line)
    return array


def _begin(name: str, state: str, rest: str) -> Array:
    members = [word for word in rest.split() if "[" in word]
    marks = [re.findall(r"\(([A-Z])\)", member) for member in members]
    array = Array(name, state)
    array.failed = sum("F" in mark for mark in marks)
    array.spare = sum("S" in mark for mark in marks)
    # Personalities without redundancy (raid0, linear) have no count: they need all their disks.
    array.active = array.required = sum(not any(kind in mark for kind in _NOT_ACTIVE) for mark in marks)
    if state == "inactive":
        array.active = array.required = 0
    return array


def _continue(array: Array, line: str) -> None:
    if match := _BLOCKS.match(line):
        array.blocks = array.synced = int(match[1])
        counts = _REQUIRED.search(line)
        if counts and array.state != "inactive":
            array.required, array.active = int(counts[1]), int(counts[2])
    if match := _PROGRESS.search(line):
        array.state = _ACTIVITIES[match[1]]
        array.synced = int(match[2] or 0)


class Bonds(Collector):
    """node_bonding_*: how many devices a bond has, and how many of them are up."""

    def __init__(self, roots: Roots) -> None:
        self._files = roots.sys_files
        self.skipped = Skipped()

    def collect(self) -> Iterable[Family]:
        try:
            masters = self._files.attribute("class/net/bonding_masters").decode().split()
        except FileNotFoundError as error:
            raise NoData("no bonded device") from error
        slaves = Family("node_bonding_slaves", "gauge", "Devices of the bond.", ("master",))
        active = Family("node_bonding_active", "gauge", "Devices of the bond that are up.", ("master",))
        for master, states in self.skipped.each("bonding", dict.fromkeys(masters), self._states):
            slaves.add(len(states), master)
            active.add(states.count(b"up"), master)
        return slaves, active

    def _states(self, master: str) -> tuple[str, list[bytes]]:
        place = f"class/net/{master}"
        names = dict.fromkeys(self._files.attribute(f"{place}/bonding/slaves").decode().split())
        return master, [self._state(place, name) for name in names]

    def _state(self, place: str, name: str) -> bytes:
        """The device's link state in the bond; empty, which is not "up", if unknown."""
        try:
            return _link_state(self._files, place, name)
        except OSError as error:
            self.skipped.add("bonding slaves", error)
            return b""


def _link_state(files: Files, place: str, name: str) -> bytes:
    try:
        return files.attribute(f"{place}/lower_{name}/bonding_slave/mii_status")
    except FileNotFoundError:
        # Its name before Linux 3.13, and today where a driver makes the link itself.
        return files.attribute(f"{place}/slave_{name}/bonding_slave/mii_status")
