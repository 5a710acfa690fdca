"""Space and inodes of each mounted file system. A hanging server costs one thread and its own mounts."""

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from prometheus_client.registry import Collector

from exporter.collectors.mounts import Mount, read_mounts
from exporter.collectors.options import Options, seconds, selection
from exporter.exposition import Family, Row
from exporter.guard import Guard, Stuck
from exporter.roots import Roots
from exporter.skipped import Skipped

_LOG = logging.getLogger(__name__)
_LABELS = ("device", "fstype", "mountpoint")
_PATIENCE = 0.2  # seconds; a healthy mount answers in microseconds
_MOST_STUCK = 8  # threads lost to dead servers, and the same number to dead disks

Space = os.statvfs_result
Answers = dict[str, Space | BaseException]  # of each mount point
# Metric, explanation, and the value from statvfs(3).
_FIGURES: tuple[tuple[str, str, Callable[[Space], int]], ...] = (
    ("size_bytes", "Size of the file system.", lambda fs: fs.f_frsize * fs.f_blocks),
    ("free_bytes", "Free space, including that reserved for root.", lambda fs: fs.f_frsize * fs.f_bfree),
    ("avail_bytes", "Free space available to users other than root.", lambda fs: fs.f_frsize * fs.f_bavail),
    ("files", "Total number of inodes.", lambda fs: fs.f_files),
    ("files_free", "Free inodes.", lambda fs: fs.f_ffree),
)


class FileSystems(Collector):
    """node_filesystem_*. ``measure`` is statvfs(3); a test passes one that hangs."""

    def __init__(self, roots: Roots, options: Options, measure: Callable[[str], Space] = os.statvfs) -> None:
        self._files, self._root, self._measure = roots.proc_files, roots.root, measure
        self._is_host = str(roots.root) == "/"
        self._points = selection(options, "filesystem_mount_points")
        self._kinds = selection(options, "filesystem_fs_types")
        self._timeout = seconds(options, "filesystem_mount_timeout")
        # Two guards: dead servers that use up all their threads must not affect local disks.
        self._local: Guard[Space] = Guard("mount", _PATIENCE, _MOST_STUCK)
        self._remote: Guard[None] = Guard("remote-mount", _PATIENCE, _MOST_STUCK)
        self._told: dict[str, str] = {}
        self.skipped = Skipped()

    def collect(self) -> Iterable[Family]:
        mounts = self._mounts()
        answers = self._ask(mounts)
        self._tell(answers)
        good = [
            (mount.labels, space)
            for mount in mounts
            if not isinstance(space := answers[mount.point], BaseException)
        ]
        for name, explanation, figure in _FIGURES:
            samples: list[Row] = [(labels, figure(space)) for labels, space in good]
            yield Family(f"node_filesystem_{name}", "gauge", explanation, _LABELS, samples)
        errors = {point: _error(answer) for point, answer in answers.items()}
        explanation = "Whether the file system is read-only."
        yield _claims(mounts, "readonly", explanation, errors, lambda mount: mount.is_read_only)
        explanation = "Whether the file system's usage could not be read."
        yield _claims(mounts, "device_error", explanation, errors, lambda mount: bool(errors[mount.point]))
        yield _information(mounts)

    def _mounts(self) -> list[Mount]:
        """The selected mounts; of several on one mount point the last, as it hides the others."""
        wanted: dict[tuple[str, str, str], Mount] = {}
        mounts = read_mounts(self._files, self.skipped)
        for mount in mounts if self._is_host else map(self._as_the_host_sees_it, mounts):
            if self._kinds.takes(mount.kind) and self._points.takes(mount.point):
                wanted[mount.device, mount.kind, mount.point] = mount
        return list(wanted.values())

    def _as_the_host_sees_it(self, mount: Mount) -> Mount:
        """A container that may not read the host's mounts finds them below the root in its own."""
        root = str(self._root)
        if not f"{mount.point}/".startswith(f"{root}/"):
            return mount
        return mount._replace(point=mount.point.removeprefix(root) or "/")

    def _ask(self, mounts: Sequence[Mount]) -> Answers:
        local = {mount.point: self._question(mount) for mount in mounts if _is_local(mount)}
        answers: Answers = {
            point: outcome.value or outcome.error or Stuck()
            for point, outcome in self._local.run(local, self._timeout).items()
        }
        return {**answers, **self._ask_servers([mount for mount in mounts if not _is_local(mount)])}

    def _ask_servers(self, mounts: Sequence[Mount]) -> Answers:
        """One task per server: if it hangs, so do all its mounts, and one thread is enough to notice."""
        if not mounts:
            return {}
        by_server: dict[str, list[Mount]] = {}
        for mount in mounts:
            by_server.setdefault(_server(mount), []).append(mount)
        answers: Answers = {}
        tasks = {server: partial(self._ask_each, theirs, answers) for server, theirs in by_server.items()}
        outcomes = self._remote.run(tasks, self._timeout)
        for server, theirs in by_server.items():
            for mount in theirs:
                answers.setdefault(mount.point, outcomes[server].error or Stuck())
        # A thread that returns later still writes into the dictionary it was given.
        return dict(answers)

    def _ask_each(self, mounts: Sequence[Mount], answers: Answers) -> None:
        for mount in mounts:
            try:
                answers[mount.point] = self._question(mount)()
            except OSError as error:
                answers[mount.point] = error

    def _tell(self, answers: Answers) -> None:
        """Log once why a file system has no metrics; the page shows only that it has none."""
        problems = {
            point: str(answer) for point, answer in answers.items() if isinstance(answer, BaseException)
        }
        for point, problem in problems.items():
            if point not in self._told:
                _LOG.warning("the usage of file system %s cannot be read: %s", point, problem)
        self._told = problems

    def _question(self, mount: Mount) -> Callable[[], Space]:
        return partial(self._measure, mount.point if self._is_host else f"{self._root}{mount.point}")


def _is_local(mount: Mount) -> bool:
    return mount.device.startswith("/dev/") or mount.kind in ("tmpfs", "ramfs", "zfs", "btrfs")


def _server(mount: Mount) -> str:
    """The server of a mount: the host in ``host:/path`` or ``//host/share``, else the mount itself."""
    if mount.device.startswith("//"):
        return mount.device[2:].partition("/")[0]
    host, separator, _ = mount.device.partition(":/")
    return host if separator and not host.startswith("/") else mount.point


def _error(answer: Space | BaseException) -> str:
    """Why there is no result, in node_exporter's words; empty if there is one."""
    if not isinstance(answer, BaseException):
        return ""
    reason = os.strerror(answer.errno) if isinstance(answer, OSError) and answer.errno else ""
    return reason[:1].lower() + reason[1:] or "mountpoint timeout"


def _claims(
    mounts: Sequence[Mount],
    name: str,
    explanation: str,
    errors: Mapping[str, str],
    holds: Callable[[Mount], bool],
) -> Family:
    # Prometheus drops empty labels: without an error it need not be written.
    if not any(errors.values()):
        samples: list[Row] = [(mount.labels, int(holds(mount))) for mount in mounts]
        return Family(f"node_filesystem_{name}", "gauge", explanation, _LABELS, samples)
    samples = [((*mount.labels, errors[mount.point]), int(holds(mount))) for mount in mounts]
    return Family(f"node_filesystem_{name}", "gauge", explanation, (*_LABELS, "device_error"), samples)


def _information(mounts: Sequence[Mount]) -> Family:
    family = Family(
        "node_filesystem_mount_info",
        "gauge",
        "Device number of the mount point.",
        ("device", "major", "minor", "mountpoint"),
    )
    for mount in mounts:
        major, _, minor = mount.number.partition(":")
        device, _, point = mount.labels
        family.add(1, device, major, minor, point)
    return family
