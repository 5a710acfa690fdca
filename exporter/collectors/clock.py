"""The clock: time, zone, sources, and its synchronisation (adjtimex(2))."""

import ctypes
import time
from collections.abc import Iterable

from prometheus_client.registry import Collector

from exporter.collectors.collector import counter, gauge
from exporter.exposition import Family
from exporter.files import Files
from exporter.roots import NoData, Roots
from exporter.skipped import Skipped

_SOURCES = "devices/system/clocksource"


class Clock(Collector):
    """node_time_*."""

    def __init__(self, roots: Roots) -> None:
        self._files = roots.sys_files
        self.skipped = Skipped()

    def collect(self) -> Iterable[Family]:
        return self.skipped.parts("time", _now, self._sources)

    def _sources(self) -> Iterable[Family]:
        available = Family(
            "node_time_clocksource_available_info",
            "gauge",
            "Clock sources that the kernel can use.",
            ("clocksource", "device"),
        )
        current = Family(
            "node_time_clocksource_current_info",
            "gauge",
            "The clock source the kernel uses.",
            ("clocksource", "device"),
        )
        for device, names, in_use in self.skipped.each("clocksource", _devices(self._files), self._source):
            for name in names:
                available.add(1, name, device)
            current.add(1, in_use, device)
        return available, current

    def _source(self, device: str) -> tuple[str, list[str], str]:
        """The device, the sources it can use, and the one it uses."""
        place = f"{_SOURCES}/clocksource{device}"
        names = self._files.attribute(f"{place}/available_clocksource").decode().split()
        return (
            device,
            list(dict.fromkeys(names)),
            self._files.attribute(f"{place}/current_clocksource").decode(),
        )


def _now() -> Iterable[Family]:
    now = time.time()
    local = time.localtime(now)
    yield gauge("node_time_seconds", "The host's clock, in Unix time.", now)
    explanation = "Offset of the host's time zone from UTC."
    zone = [((local.tm_zone,), local.tm_gmtoff)]
    yield Family("node_time_zone_offset_seconds", "gauge", explanation, ("time_zone",), list(zone))


def _devices(files: Files) -> list[str]:
    try:
        names = files.names(_SOURCES)
    except FileNotFoundError:
        return []
    return [name.removeprefix("clocksource") for name in names if name[11:].isdigit()]


class _Timex(ctypes.Structure):
    """struct timex of <sys/timex.h>, as in glibc on Linux."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("time_seconds", ctypes.c_long),
        ("time_fraction", ctypes.c_long),
        ("tick", ctypes.c_long),
        ("ppsfreq", ctypes.c_long),
        ("jitter", ctypes.c_long),
        ("shift", ctypes.c_int),
        ("stabil", ctypes.c_long),
        ("jitcnt", ctypes.c_long),
        ("calcnt", ctypes.c_long),
        ("errcnt", ctypes.c_long),
        ("stbcnt", ctypes.c_long),
        ("tai", ctypes.c_int),
        ("reserved", ctypes.c_int * 11),
    )


_TIME_ERROR = 5  # the clock is not synchronised
_NANOSECONDS_FLAG = 0x2000  # STA_NANO
_MICROSECOND = 1_000_000
_NANOSECOND = 1_000_000_000
_PARTS_PER_MILLION = 1_000_000 * 65536  # adjtimex(2) gives ppm with 16 bits of fraction
_adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex


class ClockDiscipline(Collector):
    """node_timex_*."""

    def collect(self) -> Iterable[Family]:
        timex = _Timex()
        state = _adjtimex(ctypes.byref(timex))
        if state < 0:
            raise NoData("adjtimex is not permitted")
        unit = _NANOSECOND if timex.status & _NANOSECONDS_FLAG else _MICROSECOND
        gauges = (
            ("estimated_error_seconds", "Estimated error.", timex.esterror / _MICROSECOND),
            ("frequency_adjustment_ratio", "Local clock's frequency.", 1 + timex.freq / _PARTS_PER_MILLION),
            ("loop_time_constant", "Time constant of the phase-locked loop.", timex.constant),
            ("maxerror_seconds", "Largest possible error.", timex.maxerror / _MICROSECOND),
            ("offset_seconds", "Time between the clock and its reference.", timex.offset / unit),
            ("pps_frequency_hertz", "Frequency of the pulse per second.", timex.ppsfreq / _PARTS_PER_MILLION),
            ("pps_jitter_seconds", "Jitter of the pulse per second.", timex.jitter / unit),
            ("pps_shift_seconds", "Interval of the pulse per second.", timex.shift),
            ("pps_stability_hertz", "Stability of the pulse per second.", timex.stabil / _PARTS_PER_MILLION),
            ("status", "Status bits of the clock.", timex.status),
            ("sync_status", "Whether the clock is synchronised to a server.", int(state != _TIME_ERROR)),
            ("tai_offset_seconds", "International Atomic Time's offset.", timex.tai),
            ("tick_seconds", "Seconds between two ticks.", timex.tick / _MICROSECOND),
        )
        counters = (
            ("pps_calibration_total", "Calibration intervals.", timex.calcnt),
            ("pps_error_total", "Calibration errors.", timex.errcnt),
            ("pps_jitter_total", "Times the jitter exceeded its limit.", timex.jitcnt),
            ("pps_stability_exceeded_total", "Times the stability exceeded its limit.", timex.stbcnt),
        )
        yield from (gauge(f"node_timex_{name}", words, value) for name, words, value in gauges)
        yield from (counter(f"node_timex_{name}", words, value) for name, words, value in counters)
