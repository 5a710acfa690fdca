"""The distribution: os-release(5)."""

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

from prometheus_client.registry import Collector

from exporter.exposition import Family
from exporter.files import Files
from exporter.roots import NoData, Roots
from exporter.skipped import Skipped

_PLACES = ("etc/os-release", "usr/lib/os-release")
_LIMIT = 65536
_INFO = (
    *("build_id", "id", "id_like", "image_id", "image_version", "name", "pretty_name"),
    *("variant", "variant_id", "version", "version_codename", "version_id"),
)
_VERSION_LABELS = ("id", "id_like", "name")
_VERSION = re.compile(r"\d+(?:\.\d+)?", re.ASCII)


class OperatingSystem(Collector):
    """node_os_info, node_os_version and node_os_support_end_timestamp_seconds."""

    def __init__(self, roots: Roots) -> None:
        self._files = roots.root_files
        self._content = b""
        self._families: list[Family] = []
        self.skipped = Skipped()

    def collect(self) -> Iterable[Family]:
        if (content := _read(self._files)) != self._content:
            self._families, self._content = list(_families(parse_release(content, self.skipped))), content
        return self._families


def _families(release: Mapping[str, str]) -> Iterator[Family]:
    labels = tuple(release.get(name.upper(), "") for name in _INFO)
    yield Family("node_os_info", "gauge", "The distribution, from os-release.", _INFO, [(labels, 1)])
    if match := _VERSION.match(release.get("VERSION_ID", "")):
        labels = tuple(release.get(name.upper(), "") for name in _VERSION_LABELS)
        explanation = "Major and minor of the distribution's version."
        yield Family("node_os_version", "gauge", explanation, _VERSION_LABELS, [(labels, float(match[0]))])
    if (end := support_end(release)) is not None:
        explanation = "End of the distribution's support, in Unix time."
        yield Family("node_os_support_end_timestamp_seconds", "gauge", explanation, (), [((), end)])


def _read(files: Files) -> bytes:
    for place in _PLACES:
        try:
            return files.read(place, _LIMIT)
        except FileNotFoundError:
            continue
    raise NoData("no os-release")


def parse_release(content: bytes, skipped: Skipped) -> dict[str, str]:
    """The assignments, unquoted as by a shell; the last of each name counts."""
    lines = [line.strip() for line in content.decode("utf-8", "replace").split("\n")]
    written = (line for line in lines if line and not line.startswith("#"))
    return dict(skipped.each("os-release", written, _parse_assignment))


def _parse_assignment(line: str) -> tuple[str, str]:
    key, separator, value = line.partition("=")
    if not separator or not key.isidentifier():
        raise ValueError(f"not an assignment: {line[:80]!r}")
    return key, _unquoted(value)


def _unquoted(value: str) -> str:
    try:
        return "".join(shlex.split(value)) if value[:1] in "\"'" else value
    except ValueError:
        return value.strip("\"'")


def support_end(release: Mapping[str, str]) -> float | None:
    """SUPPORT_END, a date, as Unix time; None if it is missing or not a date."""
    try:
        return datetime.strptime(release.get("SUPPORT_END", ""), "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
