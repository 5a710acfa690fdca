"""Things made of several devices: software RAID (/proc/mdstat, sysfs) and bonded network devices."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from exporter.collectors.collector import NoData, Roots
from exporter.collectors.files import Files
from leitstand.exposition import Family

# The words of mdstat (md_seq_show in drivers/md/md.c) and the state we call it by.
_ACTIVITIES = {"recovery": "recovering", "resync": "resync", "check": "check", "reshape": "reshaping"}
_STATES = ("active", "inactive", "recovering", "resync", "check")
# Linux 6.3 and later say "broken"; as with node_exporter, none of the states above is true of such an array.
_ARRAY = re.compile(r"(\S+) : (active|inactive|broken)(?: \([a-z-]+\))?(?: (.*))?")
_BLOCKS = re.compile(r"\s+(\d+) blocks")
_REQUIRED = re.compile(r"\[(\d+)/(\d+)\]")
_PROGRESS = re.compile(
    r"(recovery|resync|check|reshape)\s*=\s*(?:[\d.]+%\s*\((\d+)/\d+\)|DELAYED|PENDING|REMOTE)"
)
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


class SoftwareRaid:
    """node_md_*."""

    def __init__(self, roots: Roots) -> None:
        self._files, self._sys = roots.proc_files, roots.sys_files

    def collect(self) -> Iterable[Family]:
        try:
            arrays = parse_arrays(self._files.read("mdstat").decode("utf-8", "replace"))
        except FileNotFoundError as error:
            raise NoData("no software RAID") from error
        disks = Family("node_md_disks", "gauge", "Disks of the array, by state.", ("device", "state"))
        states = Family("node_md_state", "gauge", "Whether the array is in this state.", ("device", "state"))
        required = Family("node_md_disks_required", "gauge", "Disks the array should have.", ("device",))
        blocks = Family("node_md_blocks", "gauge", "Blocks of the array.", ("device",))
        synced = Family("node_md_blocks_synced", "gauge", "Blocks that are in step.", ("device",))
        for array in arrays:
            for state, count in (("active", array.active), ("failed", array.failed), ("spare", array.spare)):
                disks.add(count, array.name, state)
            for state in _STATES:
                states.add(int(state == array.state), array.name, state)
            required.add(array.required, array.name)
            blocks.add(array.blocks, array.name)
            synced.add(array.synced, array.name)
        return disks, required, states, blocks, synced, *self._from_sysfs(arrays)

    def _from_sysfs(self, arrays: Iterable[Array]) -> Iterable[Family]:
        """The kernel's own count of what is missing (Documentation/admin-guide/md.rst)."""
        members = Family("node_md_raid_disks", "gauge", "Disks of the whole array.", ("device",))
        missing = Family("node_md_degraded", "gauge", "Disks the array has to do without.", ("device",))
        for array in arrays:
            for file, family in (("raid_disks", members), ("degraded", missing)):
                try:
                    family.add(
                        int(self._sys.attribute(f"block/{array.name}/md/{file}").split()[0]), array.name
                    )
                except (OSError, ValueError, IndexError):
                    continue  # an array without redundancy or one that is not running has no such file
        return members, missing


def parse_arrays(content: str) -> list[Array]:
    """Every array of mdstat. Raises ValueError when one is named twice."""
    arrays: list[Array] = []
    is_known = False
    for line in content.split("\n"):
        if match := _ARRAY.fullmatch(line.rstrip()):
            arrays.append(_begin(match[1], match[2], match[3] or ""))
            is_known = True
        elif not line.startswith((" ", "\t")):
            is_known = False
        elif is_known:
            _continue(arrays[-1], line)
    if len({array.name for array in arrays}) < len(arrays):
        raise ValueError("an array is named twice")
    return arrays


def _begin(name: str, state: str, rest: str) -> Array:
    members = [word for word in rest.split() if "[" in word]
    marks = [re.findall(r"\(([A-Z])\)", member) for member in members]
    array = Array(name, state)
    array.failed = sum("F" in mark for mark in marks)
    array.spare = sum("S" in mark for mark in marks)
    # Personalities without redundancy (raid0, linear) tell no count: then all that are there are needed.
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


class Bonds:
    """node_bonding_*: how many devices a bond has, and how many of them are up."""

    def __init__(self, roots: Roots) -> None:
        self._files = roots.sys_files

    def collect(self) -> Iterable[Family]:
        try:
            masters = self._files.attribute("class/net/bonding_masters").decode().split()
        except FileNotFoundError as error:
            raise NoData("no bonded device") from error
        slaves = Family("node_bonding_slaves", "gauge", "Devices of the bond.", ("master",))
        active = Family("node_bonding_active", "gauge", "Devices of the bond that are up.", ("master",))
        for master in masters:
            states = _link_states(self._files, f"class/net/{master}")
            slaves.add(len(states), master)
            active.add(states.count(b"up"), master)
        return slaves, active


def _link_states(files: Files, place: str) -> list[bytes]:
    names = files.attribute(f"{place}/bonding/slaves").decode().split()
    return [_link_state(files, place, name) for name in names]


def _link_state(files: Files, place: str, name: str) -> bytes:
    try:
        return files.attribute(f"{place}/lower_{name}/bonding_slave/mii_status")
    except FileNotFoundError:
        # As it was called before Linux 3.13, and is where a driver makes the link itself.
        return files.attribute(f"{place}/slave_{name}/bonding_slave/mii_status")
