"""Block devices: /proc/diskstats (Documentation/admin-guide/iostats.rst) and their udev data."""

from collections.abc import Iterable, Mapping

from prometheus_client.registry import Collector

from exporter.collectors.options import Options, selection
from exporter.exposition import Family, Kind, Row
from exporter.files import Files
from exporter.roots import Roots
from exporter.skipped import Skipped, in_range

_SECTOR = 512  # bytes, regardless of the device's own sector size
_MILLISECOND = 0.001

# Metric, kind, explanation, and the value of one unit; in the order of the columns.
_COLUMNS: tuple[tuple[str, Kind, str, float], ...] = (
    ("reads_completed_total", "counter", "Reads completed.", 1),
    ("reads_merged_total", "counter", "Reads merged with an adjacent one.", 1),
    ("read_bytes_total", "counter", "Bytes read.", _SECTOR),
    ("read_time_seconds_total", "counter", "Time spent on all reads.", _MILLISECOND),
    ("writes_completed_total", "counter", "Writes completed.", 1),
    ("writes_merged_total", "counter", "Writes merged with an adjacent one.", 1),
    ("written_bytes_total", "counter", "Bytes written.", _SECTOR),
    ("write_time_seconds_total", "counter", "Time spent on all writes.", _MILLISECOND),
    ("io_now", "gauge", "Requests in progress.", 1),
    ("io_time_seconds_total", "counter", "Time in which requests were in progress.", _MILLISECOND),
    ("io_time_weighted_seconds_total", "counter", "Time of all requests, waiting included.", _MILLISECOND),
    ("discards_completed_total", "counter", "Discards completed.", 1),
    ("discards_merged_total", "counter", "Discards merged with an adjacent one.", 1),
    ("discarded_sectors_total", "counter", "Sectors discarded.", 1),
    ("discard_time_seconds_total", "counter", "Time spent on all discards.", _MILLISECOND),
    ("flush_requests_total", "counter", "Flushes completed.", 1),
    ("flush_requests_time_seconds_total", "counter", "Time spent on all flushes.", _MILLISECOND),
)
_LEAST_COLUMNS = 11
Disk = tuple[str, str, str, list[int]]
_MOST_DIGITS = 16
_INFO_LABELS = ("device", "major", "minor", "model", "path", "revision", "serial", "wwn", "rotational")
# For each label from "model" to "wwn" udev's properties; the first one that is not empty counts.
# SCSI_IDENT_SERIAL is printed on the disk itself; virtio disks have only ID_SERIAL.
_UDEV = (
    ("ID_MODEL",),
    ("ID_PATH",),
    ("ID_REVISION",),
    ("SCSI_IDENT_SERIAL", "ID_SERIAL_SHORT", "ID_SERIAL"),
    ("ID_WWN",),
)
# What udev knows about some devices only: metric, explanation, and the property of each label. A device
# without the first of these is left out.
_WORDS = (
    (
        "filesystem_info",
        "The file system on the device.",
        {"type": "ID_FS_TYPE", "usage": "ID_FS_USAGE", "uuid": "ID_FS_UUID", "version": "ID_FS_VERSION"},
    ),
    (
        "device_mapper_info",
        "Devices of the device mapper, such as LVM volumes and encrypted disks.",
        {
            "name": "DM_NAME",
            "uuid": "DM_UUID",
            "vg_name": "DM_VG_NAME",
            "lv_name": "DM_LV_NAME",
            "lv_layer": "DM_LV_LAYER",
        },
    ),
)
_ATA = "ID_ATA"
_NUMBERS = (
    ("ata_write_cache", "Whether the disk has a write cache.", "ID_ATA_WRITE_CACHE"),
    ("ata_write_cache_enabled", "Whether the disk's write cache is in use.", "ID_ATA_WRITE_CACHE_ENABLED"),
    (
        "ata_rotation_rate_rpm",
        "Revolutions per minute; 0 if the disk does not rotate.",
        "ID_ATA_ROTATION_RATE_RPM",
    ),
)


class DiskStatistics(Collector):
    """node_disk_*."""

    def __init__(self, roots: Roots, options: Options) -> None:
        self._files, self._sys = roots.proc_files, roots.sys_files
        self._udev, self._udev_place = (
            (Files(roots.udev), "") if roots.udev else (roots.root_files, "run/udev/data/")
        )
        self._turning: dict[tuple[str, str, str], str] = {}
        self._selection = selection(options, "diskstats_device")
        self.skipped = Skipped()

    def collect(self) -> Iterable[Family]:
        content = self._files.read("diskstats")
        disks = [disk for disk in parse_disks(content, self.skipped) if self._selection.takes(disk[2])]
        families = []
        for index, (name, kind, explanation, unit) in enumerate(_COLUMNS):
            # The kernel's thousandths are divided: 0.001 has no exact double, and 7 * 0.001 is not 0.007.
            samples: list[Row] = [
                ((disk[2],), columns[index] / 1000 if unit == _MILLISECOND else columns[index] * unit)
                for disk in disks
                if len(columns := disk[3]) > index
            ]
            families.append(Family(f"node_disk_{name}", kind, explanation, ("device",), samples))
        information = Family(
            "node_disk_info", "gauge", "Model, serial number and path of the device.", _INFO_LABELS
        )
        known = {}
        self._learn_turning(disks)
        for major, minor, device, _ in disks:
            properties = known[device] = read_udev(self._udev, f"{self._udev_place}b{major}:{minor}")
            labels = (device, major, minor, *_identity(properties), self._turning[device, major, minor])
            information.rows.append((labels, 1))
        return [*families, information, *_udev_families(known)]

    def _learn_turning(self, disks: Iterable[Disk]) -> None:
        """Whether each disk rotates. That never changes, so it is read once."""
        known = self._turning
        places = [(device, major, minor) for major, minor, device, _ in disks]
        self._turning = {place: known.get(place) or self._turns(place[0]) for place in places}

    def _turns(self, device: str) -> str:
        """ "1" for a disk that rotates; partitions have no such file."""
        try:
            value = self._sys.attribute(f"block/{device.replace('/', '!')}/queue/rotational")
        except OSError:
            return "0"
        return "1" if value == b"1" else "0"


def parse_disks(content: bytes, skipped: Skipped) -> list[Disk]:
    """Each device as major, minor, name and columns."""
    disks = skipped.each("diskstats", content.splitlines(), _parse_disk)
    return list(skipped.unique("diskstats", ((disk[2], disk) for disk in disks)).values())


def _parse_disk(line: bytes) -> Disk:
    major, minor, name, *columns = line.split()
    if len(columns) < _LEAST_COLUMNS:
        raise ValueError(f"too few columns: {line[:80]!r}")
    word = name.decode("utf-8", "replace")
    return str(int(major)), str(int(minor)), word, in_range([int(column) for column in columns])


def read_udev(files: Files, path: str) -> dict[str, str]:
    """One device's properties in udev's database; none without udev."""
    try:
        return parse_udev(files.read(path, 65536))
    except OSError:
        return {}


def parse_udev(content: bytes) -> dict[str, str]:
    """The lines ``E:KEY=value``."""
    return {
        key: value
        for key, _, value in (
            line[2:].partition("=")
            for line in content.decode("utf-8", "replace").split("\n")
            if line[:2] == "E:"
        )
    }


def _identity(properties: Mapping[str, str]) -> tuple[str, ...]:
    return tuple([next(filter(None, map(properties.get, keys)), "") for keys in _UDEV])


def _udev_families(known: Mapping[str, Mapping[str, str]]) -> Iterable[Family]:
    """The metrics of udev's data; ``known`` are the properties of each device."""
    for name, explanation, keys in _WORDS:
        family = Family(f"node_disk_{name}", "gauge", explanation, ("device", *keys))
        for device, properties in known.items():
            values = [properties.get(key, "") for key in keys.values()]
            if values[0]:
                family.add(1, device, *values)
        yield family
    disks = {device: properties for device, properties in known.items() if properties.get(_ATA)}
    for name, explanation, key in _NUMBERS:
        numbers = ((device, _number(properties.get(key, ""))) for device, properties in disks.items())
        samples: list[Row] = [((device,), number) for device, number in numbers if number is not None]
        yield Family(f"node_disk_{name}", "gauge", explanation, ("device",), samples)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < _MOST_DIGITS else None
