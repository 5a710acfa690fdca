"""PHP-FPM's pools: how they are set up, and how they fare by their own status page."""

import posixpath
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from exporter.inventory import fastcgi
from exporter.inventory.php_ini import IMPORTANT, Pools, listen_address
from exporter.inventory.php_layouts import (
    BINARY_LIMIT,
    branch_of,
    branch_of_version,
    parse_version,
    pool_files,
)
from exporter.inventory.source import Context, Findings, Kind, Metric
from exporter.inventory.text import load_json, search
from exporter.tree import Tree

# Mark of the system that runs -> where it keeps what is to run.
WANTED = {
    "/run/systemd/system": "/etc/systemd/system/*.wants/*php*fpm*.service",
    "/run/openrc": "/etc/runlevels/*/php-fpm*",
}
MAXIMUM_POOLS = 500
TABLE_LIMIT = 16 * 1024 * 1024
SO_ACCEPTCON = "00010000"  # include/uapi/linux/net.h, as net/unix/af_unix.c prints it
TIME_LIMIT = 1.0  # seconds for one pool
TIME_FOR_ALL = 8.0  # seconds; well below the source's own limit
LEAST_TIME = 0.01
MAXIMUM_FIGURE = 2**64
# Key of the status page -> metric; https://www.php.net/manual/en/fpm.status.php
FIGURES: dict[str, tuple[str, Kind, str]] = {
    "accepted conn": (
        "leitstand_php_fpm_accepted_connections_total",
        "counter",
        "Requests the pool has accepted.",
    ),
    "listen queue": ("leitstand_php_fpm_listen_queue", "gauge", "Requests waiting for a free process."),
    "max listen queue": (
        "leitstand_php_fpm_listen_queue_max",
        "gauge",
        "Highest number of requests waiting at once.",
    ),
    "listen queue len": (
        "leitstand_php_fpm_listen_queue_size",
        "gauge",
        "Maximum number of waiting requests.",
    ),
    "idle processes": ("leitstand_php_fpm_idle_processes", "gauge", "Idle processes."),
    "active processes": ("leitstand_php_fpm_active_processes", "gauge", "Active processes."),
    "max active processes": (
        "leitstand_php_fpm_active_processes_max",
        "gauge",
        "Highest number of processes active at once.",
    ),
    "max children reached": (
        "leitstand_php_fpm_max_children_reached_total",
        "counter",
        "Times the pool reached its process limit.",
    ),
    "slow requests": (
        "leitstand_php_fpm_slow_requests_total",
        "counter",
        "Requests slower than the pool's slow-log limit.",
    ),
    "start time": ("leitstand_php_fpm_start_timestamp_seconds", "gauge", "When the pool started."),
}
LABELS = ("pool", "branch")


class Figures:
    def __init__(self) -> None:
        self.up = Metric(
            "leitstand_php_fpm_up", "gauge", "Whether a pool that should be running has a listener.", LABELS
        )
        self.answering = Metric(
            "leitstand_php_fpm_status_up", "gauge", "Whether the pool's status page answers.", LABELS
        )
        self.most = Metric(
            "leitstand_php_fpm_max_children", "gauge", "Maximum number of processes of the pool.", LABELS
        )
        self._status = {key: Metric(*figure, LABELS) for key, figure in FIGURES.items()}

    def add_status(self, labels: tuple[str, str], status: Mapping[str, float] | None) -> None:
        """Add what a status page tells: empty if it does not answer, None without one."""
        if status is not None:
            self.answering.add(int(bool(status)), *labels)
        for key, value in (status or {}).items():
            self._status[key].add(value, *labels)

    def families(self) -> list[Metric]:
        return [self.up, self.answering, self.most, *self._status.values()]


def read(context: Context) -> Findings:
    """Every pool, and its status where ``pm.status_path`` is set and the socket is ours to open."""
    findings, figures = Findings(), Figures()
    listening = parse_listening(read_unix_sockets(context.roots.proc))
    wanted = wanted_branches(context.tree)
    found = all_pools(context.tree, findings)
    patience = Patience(len(found))
    served: set[tuple[str, str]] = set()
    for branch, name, settings in found:
        add_pool(findings, branch, name, settings)
        labels, limit = (name, branch), patience.share()
        if labels in served:  # by another PHP of this branch; the figures would be the same series
            findings.skip(reason=f"figures of a second pool {name} of PHP {branch}")
            continue
        served.add(labels)
        children = settings.get("pm.max_children", "")
        if children.isascii() and children.isdigit():
            figures.most.add(int(children[:9]), *labels)
        accepting = accepts(context.tree, settings.get("listen", ""), listening, limit)
        if accepting is None:
            findings.skip(
                reason=f"pool {name} of PHP {branch}: its address is not known, or access to it is denied"
            )
            continue
        if accepting or wanted & {branch, ""}:
            figures.up.add(int(accepting), *labels)
        figures.add_status(labels, ask(context.tree, settings, limit))
    findings.metrics += figures.families()
    return findings


class Patience:
    """Shares the time there is among the pools.

    If the database hangs, all pools are busy and none answers: that must still be reported for each.
    """

    def __init__(self, pools: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._pools, self._clock = pools, clock
        self._end = clock() + TIME_FOR_ALL

    def share(self) -> float:
        """How long the next pool may take, in seconds: its part of what the others left."""
        part = (self._end - self._clock()) / max(1, self._pools)
        self._pools -= 1
        return min(TIME_LIMIT, max(LEAST_TIME, part))


def all_pools(tree: Tree, findings: Findings) -> list[tuple[str, str, dict[str, str]]]:
    """(branch, pool, settings) of every pool; ``listen`` is an address where it is known."""
    found: dict[tuple[str, str, str], dict[str, str]] = {}
    for file in pool_files(tree):
        pools = Pools(tree, file.place.prefix, file.place.variables(), findings)
        pools.load(file.path)
        branch = file.branch or branch_of_program(tree, file.program)
        for name, settings in sorted(pools.found.items()):
            known = with_addresses(tree, settings, file.place.prefix)
            key = (branch, name, known.get("listen", ""))
            findings.skip(key in found, f"{file.path}: a second pool {name} of PHP {branch}")
            found.setdefault(key, known)
    kept = [(branch, name, settings) for (branch, name, _), settings in found.items()]
    findings.skip(len(kept[MAXIMUM_POOLS:]), f"more than {MAXIMUM_POOLS} pools")
    return kept[:MAXIMUM_POOLS]


def with_addresses(tree: Tree, settings: dict[str, str], prefix: str) -> dict[str, str]:
    """The settings of a pool, with addresses for relative names; those that are not sure are left out."""
    own = settings.get("prefix", "")
    known = dict(settings)
    for name in ("listen", "pm.status_listen"):
        if name not in settings:
            continue
        known[name] = listen_address(settings[name], own, prefix)
        # An option of PHP-FPM's command line may give another prefix.
        is_sure = known[name] == settings[name] or own.startswith("/")
        if not is_sure and tree.stat(known[name]) is None:
            del known[name]
    return known


def branch_of_program(tree: Tree, path: str) -> str:
    """The PHP branch a program tells of itself; empty if there is none."""
    try:
        return branch_of_version(parse_version(tree.read(path, BINARY_LIMIT))) if path else ""
    except OSError:
        return ""


def wanted_branches(tree: Tree) -> set[str]:
    """Branches whose PHP-FPM is to run on this host; "" stands for a service that names no branch.

    Packages bring unused pools: one without a listener is down only if its service is enabled.
    """
    links = [
        path
        for mark, pattern in WANTED.items()
        if tree.is_folder(mark)
        for path in tree.glob(pattern)
        if not posixpath.basename(path).startswith("snap.")  # its pools listen where only it knows
    ]
    masked = {
        path
        for path in links
        if tree.resolve(f"/etc/systemd/system/{posixpath.basename(path)}") == "/dev/null"
    }
    found = {branch_of(posixpath.basename(path)) for path in links if path not in masked}
    plain = [file for file in pool_files(tree) if not file.branch] if "" in found else []
    if plain:  # then that service is theirs, and not of those that name a branch
        found = (found - {""}) | {branch_of_program(tree, file.program) for file in plain}
    return found


def add_pool(findings: Findings, branch: str, name: str, settings: Mapping[str, str]) -> None:
    findings.add(
        "php_pool",
        name=name,
        branch=branch,
        listen=settings.get("listen", ""),
        user=settings.get("user", ""),
        manager=settings.get("pm", ""),
        max_children=settings.get("pm.max_children", ""),
        settings=pool_settings(settings),
    )


def pool_settings(settings: Mapping[str, str]) -> list[str]:
    """The important PHP settings that the pool overrides, each as name=value."""
    found = []
    for name, value in settings.items():
        key = search(r"^php(?:_admin)?_(?:value|flag)\[([\w.]+)\]$", name)
        if key in IMPORTANT:
            found.append(f"{key}={value}")
    return sorted(found)


def address_of(tree: Tree, listen: str) -> str:
    """Where to connect to what a pool listens on; a bare port, and ``*``, are on every address."""
    if listen.startswith("/"):
        return tree.real(listen)
    return listen.removeprefix("*") if ":" in listen else f":{listen}"


def read_unix_sockets(proc: Path) -> str:
    """The kernel's table of Unix sockets, empty where there is none."""
    try:
        with (proc / "net/unix").open(errors="replace") as file:
            return file.read(TABLE_LIMIT)
    except OSError:
        return ""


def parse_listening(table: str) -> set[str]:
    """Paths of listening Unix sockets, proc_pid_net(5)."""
    rows = [line.split(None, 7) for line in table.splitlines()]
    return {row[7] for row in rows if len(row) == 8 and row[3] == SO_ACCEPTCON}


def accepts(tree: Tree, listen: str, listening: set[str], seconds: float) -> bool | None:
    """Whether the pool has a listener, as it does even if all its processes are busy.

    The kernel's table is asked first: a connection would wake a pool that starts its processes on demand.
    None where that is not known: "no" are a refused connection and a socket that is missing, nothing else.
    """
    if listen in listening:
        return True
    if not listen:
        return None
    try:
        fastcgi.connect(address_of(tree, listen), seconds).close()
    except BlockingIOError:  # as many wait for an answer as may, unix(7)
        return True
    except (ConnectionRefusedError, FileNotFoundError):
        return False
    except (OSError, ValueError):  # not ours to open, a name that is not known, a sandbox without TCP
        return None
    return True


def ask(tree: Tree, settings: Mapping[str, str], seconds: float) -> dict[str, float] | None:
    """The figures of a pool's status page; empty if it does not answer in time; None if it has none for us.

    A saturated pool cannot answer on its own socket: ``pm.status_listen`` gives the page one apart (PHP 8).
    """
    path = settings.get("pm.status_path", "")
    if not path:
        return None
    listen = settings.get("pm.status_listen") or settings.get("listen", "")
    try:
        status, body = fastcgi.get(address_of(tree, listen), path, "json", seconds)
        return parse_status(body.decode("utf-8", "replace")) if status == 200 else {}
    except (PermissionError, fastcgi.NotAnAddress):
        return None
    except (OSError, ValueError, fastcgi.FastCgiError):
        return {}


def parse_status(text: str) -> dict[str, float]:
    """The figures we know of a status page in JSON. Raises ValueError for another text."""
    raw: Any = load_json(text)
    if not isinstance(raw, dict):
        raise ValueError("not an object")
    # A value too large for a float would break the whole page, and any program may listen there.
    numbers = {
        key: value
        for key, value in raw.items()
        if type(value) in (int, float) and abs(value) < MAXIMUM_FIGURE
    }
    return {key: numbers[key] for key in FIGURES if key in numbers}
