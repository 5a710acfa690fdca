"""Truncated, huge, binary and hostile files: a collector fails alone, and the page stays readable."""

import importlib
import pkgutil
import struct
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import exporter.collectors
from exporter.collectors import COLLECTORS
from exporter.collectors.arrays import parse_arrays
from exporter.collectors.cpu import parse_cpu_list, parse_times
from exporter.collectors.cpuinfo import parse_cpus
from exporter.collectors.dbus import BusError, _read_fields, read_string, read_variant
from exporter.collectors.disks import parse_disks, parse_udev
from exporter.collectors.hardware import parse_selinux
from exporter.collectors.kernel import parse_load, parse_open_files, parse_stat, parse_vectors
from exporter.collectors.memory import parse_memory, parse_pressure
from exporter.collectors.mounts import parse_mounts
from exporter.collectors.netdev import parse_devices
from exporter.collectors.netstat import ProtocolCounters
from exporter.collectors.options import Options
from exporter.collectors.os_release import parse_release, support_end
from exporter.collectors.processes import parse_process
from exporter.collectors.scheduler import parse_scheduler
from exporter.collectors.sensors import figures as sensor_figures
from exporter.collectors.sockets import (
    parse_conntrack,
    parse_neighbours,
    parse_queues,
    parse_sockets,
    parse_softnet,
)
from exporter.collectors.systemd import parse_units
from exporter.collectors.textfile_format import BadTextfile, parse_textfile
from exporter.exposition import text_page
from exporter.roots import Roots
from exporter.scrape import Scraper
from exporter.skipped import Skipped


def packed(text):
    return struct.pack("<I", len(text)) + text + b"\0"


def read_tables(content):
    return list(ProtocolCounters(Roots(), Options())._tables(content))


def read_lines(content):
    return list(ProtocolCounters(Roots(), Options())._lines(content))


def read_date(content):
    return support_end({"SUPPORT_END": content.decode("utf-8", "replace")})


def read_reply(content):
    return _read_fields(content, len(content))


def read_text(content):
    return read_string(content, 0)[0]


# Each parser with a real line or two of what it reads.
REAL = {
    parse_arrays: b"md0 : active raid1 sdb1[1] sda1[0]\n      1048576 blocks super 1.2 [2/2] [UU]\n",
    parse_conntrack: b"entries found new\n00000021 00000003 00000000\n",
    parse_cpu_list: b"0-3,7",
    parse_cpus: b"processor\t: 0\nmodel name\t: A\nflags\t: fpu aes\n\nprocessor\t: 1\n\n",
    parse_devices: b"Inter-|\n face |\n  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n",
    parse_disks: b"   8   0 sda 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n",
    parse_load: b"0.02 0.04 0.05 1/497 11947\n",
    parse_memory: b"MemTotal:  16042172 kB\nActive(anon): 12 kB\nHugePages_Free: 0\n",
    parse_mounts: b"24 29 0:22 / /srv rw,relatime shared:7 - ext4 /dev/sda1 rw\n",
    parse_neighbours: b"IP address\n192.0.2.1 0x1 0x2 cc:aa:dd:ee:aa:bb * eth0\n",
    parse_open_files: b"1024\t0\t1631329\n",
    parse_pressure: b"some avg10=0.10 avg60=2.00 avg300=3.85 total=15\n",
    parse_process: b"1 (a) b)) S 0 1 1 0 -1 4194560 9061 9416027 94 2620 36 98 54 129 20 0 3 0 29\n",
    parse_queues: b"  sl\n 0: 00000000:0016 00000000:0000 0A 00000015:00000001 00:00000000 00000000\n",
    parse_release: b'NAME="Debian GNU/Linux"\nVERSION_ID="12"\n',
    parse_scheduler: b"cpu0 0 0 0 0 0 0 2045936778163 343796328169361 4767485306\n",
    parse_selinux: b"SELINUX=enforcing\n",
    parse_sockets: b"TCP: inuse 4 orphan 0\n",
    parse_softnet: b"00015c73 00020e76 00000769\n",
    parse_stat: b"intr 8885917 17 0\nctxt 38014093\nbtime 1418183276\n",
    parse_times: b"cpu  1 2 3 4\ncpu0 301854 612 111922 8979004 3552 2 3944 0 0 0\n",
    parse_textfile: b'# TYPE a counter\na{b="c"} 1\n',
    parse_vectors: b"softirq 9 1 2 3 4 5\n",
    parse_udev: b"E:ID_MODEL=Disk\n",
    parse_units: struct.pack("<II", 73, 0)
    + b"".join([packed(text) for text in (b"a.b", b"Abc", b"abc", b"abc", b"abc", b"abc", b"/ab")])
    + struct.pack("<I", 0)
    + packed(b"").ljust(8, b"\0")
    + packed(b""),
    read_date: b"2028-06-30",
    read_lines: b"Ip6InReceives\t7\nUdp6InDatagrams\t8\n",
    read_reply: b"\x05\x01u\0\x07\0\0\0\x04\x01s\0" + packed(b"org.example.Error"),
    read_tables: b"Tcp: InSegs OutSegs\nTcp: 7 8\n",
    read_text: packed(b"252.38"),
    read_variant: b"\x01t\0\0\0\0\0\0" + struct.pack("<Q", 7),
}
TAKES_TEXT = (parse_arrays, parse_cpu_list)
# How a parser says no.
REFUSALS = (ValueError, IndexError, BadTextfile, BusError)


def run(parser, content):
    """Call a parser as its collector does."""
    text = content.decode("utf-8", "replace") if parser in TAKES_TEXT else content
    try:
        return parser(text, Skipped()) if "skipped" in signature(parser).parameters else parser(text)
    except REFUSALS:
        return None


def test_no_parser_is_missing_here():
    rooms = [module.name for module in pkgutil.iter_modules(exporter.collectors.__path__)]
    modules = [importlib.import_module(f"exporter.collectors.{room}") for room in rooms]
    parsers = {
        thing
        for module in modules
        for name, thing in vars(module).items()
        if name.startswith("parse_") and thing.__module__ == module.__name__
    }
    assert parsers == {parser for parser in REAL if parser.__name__.startswith("parse_")}


@pytest.mark.parametrize("parser", REAL, ids=lambda parser: parser.__name__)
def test_every_parser_reads_the_real_thing(parser):
    assert run(parser, REAL[parser])


@st.composite
def damaged(draw, content):
    """A real file cut short, with bytes put in between, or doubled."""
    start = draw(st.integers(0, len(content)))
    end = draw(st.integers(start, len(content)))
    middle = draw(
        st.binary(max_size=20) | st.sampled_from([b"\n", b" ", b"9" * 5000, b"-1", b"nan", b"\x00"])
    )
    return content[:start] + middle + content[end:] + draw(st.sampled_from([b"", content]))


@pytest.mark.parametrize("parser", REAL, ids=lambda parser: parser.__name__)
def test_no_parser_does_anything_but_read_or_refuse(parser):
    @settings(max_examples=120, derandomize=True, deadline=None)
    @given(content=st.binary(max_size=300) | damaged(REAL[parser]))
    def holds(content):
        run(parser, content)

    holds()


@settings(max_examples=200, derandomize=True, deadline=None)
@given(
    parts=st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=4),
    kind=st.sampled_from(["in", "temp1", "fan2", "power", "energy", "vrm", "pwm"]),
)
def test_a_sensor_of_any_words_gives_numbers_or_nothing(kind, parts):
    assert all(isinstance(figure.value, int | float) for figure in sensor_figures(kind, parts))


def test_a_process_name_that_looks_like_fields_is_not_parsed_as_fields():
    assert parse_process(b"7 (x) S 1 2 (y) R 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 3 0 29\n") == ("R", 3)


LISTING = Path(__file__).with_name("hardware.tree").read_text().split("@ ")[1:]
TREE = {path: content.encode() for path, _, content in (part.partition("\n") for part in LISTING)}


@pytest.fixture
def scraper(host: Any) -> Scraper:
    names = [name for name in COLLECTORS if name not in ("textfile", "own", "timex", "uname")]
    made = {name: COLLECTORS[name].build(Roots(*host.roots.__dict__.values()), Options()) for name in names}
    return Scraper({**made, "alive": COLLECTORS["own"].build(host.roots, Options())}, patience=5)


@st.composite
def damages(draw):
    paths = draw(st.lists(st.sampled_from(sorted(TREE)), min_size=1, max_size=8, unique=True))
    return {path: draw(st.binary(max_size=60) | damaged(TREE[path])) for path in paths}


def test_any_content_of_the_files_gives_a_valid_page_without_duplicate_series(host, scraper):
    @settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(damage=damages())
    def holds(damage):
        for path, content in damage.items():
            host.write(path, content)
        # The strict reader of textfiles refuses a series that comes twice, a bad label, a number out of
        # range.
        blocks = parse_textfile(text_page(scraper.scrape()))
        for path in damage:
            host.write(path, TREE[path])
        assert sum(len(block.series) for block in blocks) > 200
        verdicts = next(block for block in blocks if block.name == "node_scrape_collector_success")
        assert 'collector="alive"} 1\n' in verdicts.lines

    for path, content in TREE.items():
        host.write(path, content)
    holds()


def test_a_clock_source_that_is_listed_twice_is_one(host, scraper):
    host.write("sys/devices/system/clocksource/clocksource0/available_clocksource", "tsc hpet tsc\n")
    host.write("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n")
    series = next(
        b
        for b in parse_textfile(text_page(scraper.scrape()))
        if b.name == "node_time_clocksource_available_info"
    ).series
    assert len(series) == 2


def test_a_number_too_large_for_a_float_affects_no_other(host, scraper, page_of):
    host.write("proc/stat", b"cpu0 1 2 3 4\nintr 1\nctxt " + b"9" * 400 + b"\nprocesses 7\n")
    page = page_of(text_page(scraper.scrape()).decode())
    assert page["node_scrape_collector_success", (("collector", "stat"),)] == 1
    assert page["node_scrape_collector_skipped_entries_total", (("collector", "stat"),)] == 1
    assert page["node_forks_total", ()] == 7
    assert ("node_context_switches_total", ()) not in page


def test_a_huge_file_is_refused_and_affects_only_its_collector(host, scraper, page_of):
    with (host.folder / "proc/meminfo").open("wb") as file:
        file.truncate(1 << 30)
    host.write("proc/loadavg", "0.5 0.5 0.5 1/2 3\n")
    page = page_of(text_page(scraper.scrape()).decode())
    assert page["node_scrape_collector_success", (("collector", "meminfo"),)] == 0
    assert page["node_load1", ()] == 0.5
