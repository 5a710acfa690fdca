"""Host detail: utilisation, saturation and errors of each resource; what is installed; backups."""

from grafana.source.elements import (
    CRITICAL,
    WARNING,
    Column,
    Json,
    count_mapping,
    stat,
    table,
    timeline,
    timeseries,
)
from grafana.source.host_tables import HOST, alerts, backups, collectors, inventory, php, upkeep
from grafana.source.layout import arrange, dashboard, host_variables, link_to
from grafana.source.states import (
    FLEET_UID,
    HOST_STATES,
    HOST_UID,
    LOAD,
    REBOOT,
    SHARE,
    UPDATES,
)

RATE = "[$__rate_interval]"
DEVICES = f'{HOST}, device!~"lo|veth.*|br-.*|docker.*"'


def host_detail() -> Json:
    """The second dashboard, for one host."""
    panels = arrange(
        [
            ("Now", [(4, _load()), (4, _upkeep()), (5, [alerts()]), (4, [_system(), _states()])]),
            ("Processor", [(8, _processor())]),
            ("Memory", [(8, _memory())]),
            ("Disk", [(8, _space()), (8, _disk())]),
            ("Network", [(8, _network())]),
            ("PHP", [(7, php())]),
            ("Inventory", inventory()),
            ("Certificates and timers", [(7, upkeep())]),
            ("Backups and exporter", [(8, [backups(), collectors()])]),
        ]
    )
    links = [link_to(FLEET_UID, "Fleet overview")]
    description = "One host: utilisation, saturation and errors of each resource, inventory, backups."
    return dashboard(HOST_UID, "Host detail", description, panels, host_variables(several=False), links)


def _load() -> list[Json]:
    return [
        stat(
            "State",
            "The worst of the host's alerts.",
            _worst("instance:host_health:state"),
            mappings=HOST_STATES,
        ),
        _share(
            "CPU",
            "Share of time in which the CPUs were busy, over 5 minutes.",
            "instance:node_cpu_utilisation:rate5m",
        ),
        _share(
            "Memory",
            "Share of memory that is not available to programs.",
            "instance:node_memory_utilisation:ratio",
        ),
        _share(
            "Fullest disk", "Usage of the fullest file system.", "instance:node_filesystem_utilisation:max"
        ),
        stat(
            "Load per CPU",
            "Load average divided by the number of CPUs.",
            _worst("instance:node_load1_per_cpu:ratio"),
            steps=LOAD,
            decimals=2,
        ),
        stat(
            "OOM kills",
            "Processes that the kernel killed for lack of memory within the time range.",
            f"round(sum(increase(node_vmstat_oom_kill{{{HOST}}}[$__range])))",
            mappings=count_mapping(CRITICAL),
        ),
    ]


def _upkeep() -> list[Json]:
    live, inventory = (
        f"node_scrape_collector_success{{{HOST}}}",
        f"leitstand_inventory_source_success{{{HOST}}}",
    )
    return [
        stat(
            "Uptime",
            "Time since the kernel started.",
            f"time() - {_worst('node_boot_time_seconds')}",
            "s",
            decimals=1,
        ),
        stat(
            "Security updates",
            "Pending security updates.",
            f'sum(leitstand_pending_updates{{{HOST}, security="true"}}) or vector(-1)',
            mappings=UPDATES,
        ),
        stat(
            "Reboot",
            "Whether an update needs a reboot.",
            f"{_worst('leitstand_reboot_required')} or vector(-1)",
            mappings=REBOOT,
        ),
        stat(
            "Failed units",
            "Systemd units in the state failed.",
            f"{_worst('leitstand_failed_units')} or vector(-1)",
            mappings=UPDATES,
        ),
        stat(
            "Failed collectors",
            "Collectors and inventory sources of the exporter that fail.",
            f"count({live} == 0 or {inventory} == 0) or vector(0)",
            mappings=count_mapping(WARNING),
        ),
        stat("Packages", "Installed, by all package managers.", f"sum(leitstand_packages{{{HOST}}})"),
    ]


def _worst(name: str) -> str:
    return f"max({name}{{{HOST}}})"


def _share(title: str, description: str, name: str) -> Json:
    return stat(title, description, _worst(name), "percentunit", steps=SHARE, decimals=0)


def _system() -> Json:
    queries = {
        "kernel": f"max by (instance, nodename, release, machine) (node_uname_info{{{HOST}}})",
        "os": f"max by (instance, pretty_name) (node_os_info{{{HOST}}})",
        "processors": f"max by (instance) (instance:node_num_cpu:sum{{{HOST}}})",
        "memory": f"max by (instance) (node_memory_MemTotal_bytes{{{HOST}}})",
    }
    columns = [
        Column("nodename", "Hostname"),
        Column("pretty_name", "System"),
        Column("release", "Kernel"),
        Column("machine", "Machine"),
        Column("processors", "CPUs"),
        Column("memory", "Memory", "bytes"),
    ]
    return table("System", "What this host is.", queries, columns, ("Hostname", False), hidden=["instance"])


def _states() -> Json:
    expression = f"max by (instance) (instance:host_health:state{{{HOST}}})"
    return timeline(
        "State over time", "The worst of the host's alerts.", expression, "{{instance}}", HOST_STATES
    )


def _processor() -> list[Json]:
    modes = f'sum by (mode) (rate(node_cpu_seconds_total{{{HOST}, mode!="idle"}}{RATE}))'
    return [
        timeseries(
            "Utilisation",
            "Share of CPU time by mode; the rest was idle.",
            [(f"{modes} / on () group_left () sum(instance:node_num_cpu:sum{{{HOST}}})", "{{mode}}")],
            "percentunit",
            maximum=1,
            stacked=True,
        ),
        timeseries(
            "Saturation",
            "Load per CPU: above 1, processes wait. Waiting: share of time in which at least one did.",
            [
                (_worst("instance:node_load1_per_cpu:ratio"), "load per CPU, 1 min"),
                (
                    f"max(node_load15{{{HOST}}}) / sum(instance:node_num_cpu:sum{{{HOST}}})",
                    "load per CPU, 15 min",
                ),
                (f"max(rate(node_pressure_cpu_waiting_seconds_total{{{HOST}}}{RATE}))", "waiting"),
            ],
            "none",
        ),
        timeseries(
            "Processes",
            "Running, and blocked on disks or network file systems.",
            [
                (f"max(node_procs_running{{{HOST}}})", "running"),
                (f"max(node_procs_blocked{{{HOST}}})", "blocked"),
            ],
            "none",
        ),
    ]


def _memory() -> list[Json]:
    total, available = (
        f"sum(node_memory_MemTotal_bytes{{{HOST}}})",
        f"sum(node_memory_MemAvailable_bytes{{{HOST}}})",
    )
    return [
        timeseries(
            "Utilisation",
            "Memory in use, and total. Caches count as available.",
            [(f"{total} - {available}", "in use"), (total, "installed")],
            "bytes",
        ),
        timeseries(
            "Saturation",
            "Share of time in which processes waited for memory; major page faults and pages swapped in.",
            [
                (f"max(rate(node_pressure_memory_waiting_seconds_total{{{HOST}}}{RATE}))", "waiting"),
                (f"sum(rate(node_vmstat_pgmajfault{{{HOST}}}{RATE}))", "major faults/s"),
                (f"sum(rate(node_vmstat_pswpin{{{HOST}}}{RATE}))", "pages swapped in/s"),
            ],
            "none",
        ),
        timeseries(
            "Swap",
            "Swap in use, and total. A host may have none.",
            [
                (
                    f"sum(node_memory_SwapTotal_bytes{{{HOST}}} - node_memory_SwapFree_bytes{{{HOST}}})",
                    "in use",
                ),
                (f"sum(node_memory_SwapTotal_bytes{{{HOST}}})", "there"),
            ],
            "bytes",
        ),
    ]


def _space() -> list[Json]:
    used = f"1 - instance_mountpoint:node_filesystem_avail:ratio{{{HOST}}}"
    files = f'node_filesystem_files{{{HOST}, fstype!="tmpfs"}} > 0'
    return [
        timeseries(
            "Space in use",
            "Share that is no longer available to ordinary users, by file system.",
            [(f"max by (mountpoint) ({used})", "{{mountpoint}}")],
            "percentunit",
            maximum=1,
        ),
        timeseries(
            "Files in use",
            "Share of inodes in use; file systems that create inodes on demand are not shown.",
            [
                (
                    f"max by (mountpoint) (1 - node_filesystem_files_free{{{HOST}}} / ({files}))",
                    "{{mountpoint}}",
                )
            ],
            "percentunit",
            maximum=1,
        ),
        timeseries(
            "Errors",
            "File systems that cannot be queried, or that are mounted read-only.",
            [
                (f"max by (mountpoint) (node_filesystem_device_error{{{HOST}}})", "error {{mountpoint}}"),
                (f"max by (mountpoint) (node_filesystem_readonly{{{HOST}}})", "read-only {{mountpoint}}"),
            ],
            "none",
            maximum=1,
        ),
    ]


def _disk() -> list[Json]:
    return [
        timeseries(
            "Utilisation",
            "Share of time in which the disk was busy. A fast disk at 1 may still take more requests.",
            [(f"max by (device) (rate(node_disk_io_time_seconds_total{{{HOST}}}{RATE}))", "{{device}}")],
            "percentunit",
        ),
        timeseries(
            "Saturation",
            "Requests queued or in progress; share of time in which processes waited for disks.",
            [
                (
                    f"max by (device) (rate(node_disk_io_time_weighted_seconds_total{{{HOST}}}{RATE}))",
                    "queue {{device}}",
                ),
                (f"max(rate(node_pressure_io_waiting_seconds_total{{{HOST}}}{RATE}))", "waiting"),
            ],
            "none",
        ),
        timeseries(
            "Throughput",
            "Bytes read and written per second.",
            [
                (f"sum by (device) (rate(node_disk_read_bytes_total{{{HOST}}}{RATE}))", "read {{device}}"),
                (
                    f"sum by (device) (rate(node_disk_written_bytes_total{{{HOST}}}{RATE}))",
                    "written {{device}}",
                ),
            ],
            "Bps",
        ),
    ]


def _network() -> list[Json]:
    def each(what: str, label: str) -> list[tuple[str, str]]:
        return [
            (
                f"sum by (device) (rate(node_network_{way}_{what}_total{{{DEVICES}}}{RATE}))",
                f"{label}{word} {{{{device}}}}",
            )
            for way, word in (("receive", "in"), ("transmit", "out"))
        ]

    return [
        timeseries(
            "Throughput", "Bytes per second, without loopback and virtual devices.", each("bytes", ""), "Bps"
        ),
        timeseries(
            "Saturation",
            "Packets dropped per second because a queue was full.",
            each("drop", "dropped "),
            "pps",
        ),
        timeseries("Errors", "Damaged packets per second.", each("errs", "broken "), "pps"),
    ]
