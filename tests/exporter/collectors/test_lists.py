"""Every list that is read, with one line or one file of it cut, doubled, blanked or garbled."""

import re
import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from exporter.collectors import COLLECTORS
from exporter.collectors.options import Options
from exporter.collectors.os_release import parse_release
from exporter.collectors.systemd import parse_units
from exporter.exposition import text_page
from exporter.scrape import Scraper
from exporter.skipped import Skipped

LISTING = Path(__file__).with_name("hardware.tree").read_text().split("@ ")[1:]
TREE = {path: content.encode() for path, _, content in (part.partition("\n") for part in LISTING)}
TREE |= {"sys/class/nvme/nvme1/model": b"Other\n", "proc/2/stat": TREE["proc/1/stat"]}
GARBAGE = b"\xff\x00 ??? -x 9z"


@dataclass(frozen=True)
class Lines:
    """A file whose lines are entries: ``heading`` lines belong to all, ``most`` tell of one sample."""

    collector: str
    path: str
    heading: int = 0
    most: int = 1
    more: bytes = b""
    names_come_twice: bool = True
    blanks_count: bool = True

    @property
    def lines(self) -> list[bytes]:
        return (TREE[self.path] + self.more).splitlines(keepends=True)


LISTS = (
    Lines("arp", "proc/net/arp", heading=1, most=2, names_come_twice=False),
    Lines("conntrack", "proc/net/stat/nf_conntrack", heading=1, most=2, names_come_twice=False),
    Lines("cpu", "proc/stat"),
    Lines("diskstats", "proc/diskstats"),
    Lines(
        "filesystem",
        "proc/1/mountinfo",
        more=b"1146 77 0:149 / /home rw,noatime - 9p drvfs rw,aname=drvfs;path=C:\\Program Files;x=/mnt/\n",
        names_come_twice=False,
    ),
    Lines("mdadm", "proc/mdstat", most=3, names_come_twice=False),
    Lines("meminfo", "proc/meminfo"),
    Lines(
        "netdev",
        "proc/net/dev",
        heading=2,
        more=b"  eth1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\neth1:1: 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6\n",
    ),
    Lines("netstat", "proc/net/netstat", most=2),
    Lines("netstat", "proc/net/snmp", most=2),
    Lines("netstat", "proc/net/snmp6"),
    Lines("pressure", "proc/pressure/io", blanks_count=False),
    Lines("schedstat", "proc/schedstat", heading=2),
    Lines("sockstat", "proc/net/sockstat"),
    Lines("sockstat", "proc/net/sockstat6"),
    Lines("softnet", "proc/net/softnet_stat"),
    Lines("stat", "proc/stat"),
    Lines("udp_queues", "proc/net/udp", heading=1, most=2, names_come_twice=False),
    Lines("vmstat", "proc/vmstat"),
)
DAMAGE = {
    "cut": lambda line: line[: len(line) // 2] + b"\n",
    "doubled": lambda line: line * 2,
    "blanked": lambda line: b"   \n",
    "emptied": lambda line: b"\n",
    "garbled": lambda line: GARBAGE + b"\n",
    "of one word": lambda line: b"".join(line.split()[:1]) + b"\n",
    "with a number out of all range": lambda line: re.sub(rb"\d+(\s*)$", b"9" * 400 + rb"\1", line),
    "with one word too many": lambda line: line.rstrip(b"\n") + b" surplus\n",
    "taken out": lambda line: b"",
}
# Real: the space of the disk the tests run on, which others use as well.
RESTLESS = re.compile(
    r"node_filesystem_(avail_bytes|free_bytes|files_free)|node_time_seconds|.*scrape_collector_.*"
)


class Watched:
    """One collector on a host of files, and what it says."""

    def __init__(self, host, name):
        for path, content in TREE.items():
            host.write(path, content)
        for place in ("srv", "home"):
            (host.folder / "root" / place).mkdir(exist_ok=True)
        self.name = name
        self.collector = COLLECTORS[name].build(host.roots, Options())
        self.scraper = Scraper({name: self.collector}, patience=5)

    def look(self):
        """The samples, whether the collector succeeded, and what it skipped in all."""
        lines = [line for line in text_page(self.scraper.scrape()).decode().splitlines() if line[0] != "#"]
        page = {series: float(value) for series, _, value in (line.rpartition(" ") for line in lines)}
        assert len(page) == len(lines), "a series comes twice"
        success = page[f'node_scrape_collector_success{{collector="{self.name}"}}']
        skipped = page.pop(f'node_scrape_collector_skipped_entries_total{{collector="{self.name}"}}')
        return {key: value for key, value in page.items() if not RESTLESS.match(key)}, success, skipped


def kept(whole, reduced):
    """What an entry's neighbours say: the samples that do not change when it is taken out."""
    return {key: value for key, value in whole.items() if reduced.get(key) == value}


@pytest.mark.parametrize("each", LISTS, ids=lambda each: f"{each.collector}-{each.path}")
def test_one_bad_line_is_counted_and_logged_once_and_affects_no_other(each, host, caplog):
    watched = Watched(host, each.collector)
    lines = each.lines

    def with_line(number, line):
        host.write(each.path, b"".join([*lines[:number], line, *lines[number + 1 :]]))
        return watched.look()

    whole, success, skipped = with_line(0, lines[0])
    assert (success, skipped) == (1, 0)
    counted = Counter()
    lost = Counter()
    for number in range(each.heading, len(lines)):
        neighbours = kept(whole, with_line(number, b"")[0])
        lost.update(whole.keys() - neighbours.keys())
        for name, damage in DAMAGE.items():
            before = watched.look()[2]
            page, success, after = with_line(number, damage(lines[number]))
            assert {key: page.get(key) for key in neighbours} == neighbours, (name, lines[number])
            assert success == 1, (name, lines[number])
            counted[name] += after > before
    assert max(lost.values()) <= each.most, "an entry took others along"
    assert counted["garbled"]
    assert (counted["emptied"] and counted["blanked"]) or not each.blanks_count
    assert counted["doubled"] or not each.names_come_twice
    sources = [record.message.split(":")[0] for record in caplog.records if "is skipped" in record.message]
    assert sources and all(count == 1 for count in Counter(sources).values())
    assert "failed" not in caplog.text


# Files that say which others there are, or without which there is nothing to tell.
ROOTS = {
    "proc/sys/net/netfilter/nf_conntrack_count",
    "sys/class/net/bonding_masters",
    "sys/class/net/bond0/bonding/slaves",
}
SHORT = {path: content for path, content in TREE.items() if content.count(b"\n") <= 1 and path not in ROOTS}
OF_FILES = (
    *("bonding", "conntrack", "cpu", "cpufreq", "edac", "entropy", "hwmon", "netclass"),
    *("nvme", "powersupplyclass", "processes", "thermal_zone", "time", "watchdog", "mdadm"),
)


@pytest.mark.parametrize("name", OF_FILES)
def test_one_bad_file_affects_no_other(name, host):
    watched = Watched(host, name)
    whole, success, _ = watched.look()
    assert success == 1 and len(whole) > 1
    touched = 0
    for path, content in SHORT.items():
        place = host.folder / path
        place.unlink()
        neighbours = kept(whole, watched.look()[0])
        is_read = len(neighbours) < len(whole)
        touched += is_read
        for damage in (
            GARBAGE,
            *((b"", b"\n", b"  \n", b"9" * 400, content * 2, content[:1]) if is_read else ()),
        ):
            host.write(path, damage)
            page, success, _ = watched.look()
            assert {key: page.get(key) for key in neighbours} == neighbours, (path, damage)
            assert success == 1, (path, damage)
        host.write(path, content)
    assert touched, "no file of the tree belongs to this collector"


def test_each_collector_that_reads_lists_is_tried_here(host):
    tried = {each.collector for each in LISTS} | set(OF_FILES)
    read = {
        name for name, entry in COLLECTORS.items() if hasattr(entry.build(host.roots, Options()), "skipped")
    }
    # Answers of systemd, and os-release, whose lines are labels of one sample, are tried below.
    assert read - tried == {"os", "systemd"}


def test_an_invalid_line_of_os_release_affects_no_other(caplog):
    skipped = Skipped()
    content = b'NAME="Debian"\n\n# a comment\nnonsense\n=x\nVERSION_ID=12\n'
    assert parse_release(content, skipped) == {"NAME": "Debian", "VERSION_ID": "12"}
    assert skipped.count == 2


def test_a_unit_of_systemd_that_is_listed_twice_is_one():
    unit = ["a.service", "A", "loaded", "active", "running", "", "/a", "", "/"]
    body = b""
    for _ in range(2):
        body += b"\0" * (-(8 + len(body)) % 8)
        for text in unit[:7]:
            body += b"\0" * (-len(body) % 4) + struct.pack("<I", len(text)) + text.encode() + b"\0"
        body += b"\0" * (-len(body) % 4) + struct.pack("<I", 0)
        for text in unit[7:]:
            body += b"\0" * (-len(body) % 4) + struct.pack("<I", len(text)) + text.encode() + b"\0"
    skipped = Skipped()
    units = parse_units(struct.pack("<II", len(body), 0) + body, skipped)
    assert ([unit.name for unit in units], skipped.count) == (["a.service"], 1)
