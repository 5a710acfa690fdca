"""node-exporter.md: what of node_exporter the exporter serves, where it differs, and what it leaves out.

The names are what the collectors give on the host that LISTING describes, which has all hardware: they do not
depend on the machine that the page is made on.
"""

import tempfile
import textwrap
from collections.abc import Mapping
from pathlib import Path

from docs.reference.metrics import MADE, ROOM, Metric, collected, literals, metric_table
from exporter.collectors import COLLECTORS
from exporter.collectors.options import Options
from exporter.collectors.systemd import CONNECTIONS
from exporter.not_served import NOT_SERVED, NOT_SERVED_LATER
from exporter.roots import Roots

LISTING = ROOM.parent / "tests/exporter/collectors/hardware.tree"

DIFFERENCES = (
    "`node_scrape_collector_success` is 1 also where the host has nothing for a collector (no "
    "RAID, no battery). There it is 0, so that no alert can use it; here 0 is a failure.",
    "A collector that raises or hangs costs only itself. It has until the scrape's deadline "
    "(`X-Prometheus-Scrape-Timeout-Seconds` less half a second, 9.5 s without it); later scrapes "
    "go on without it until it returns. A mount that hangs, and each of the same server, counts as "
    "`node_filesystem_device_error` 1 after `--collector.filesystem.mount-timeout` (2 s).",
    "Defaults are those of newer releases than Debian's 1.5.0: `zram` devices are left out of "
    "diskstats, and of the mount points `/mnt`, `/media` and `/run` are shown. As in Debian's 1.5.0, and not "
    "in others, `lo` is left out of netdev: `--collector.netdev.device-exclude=` shows it.",
    "From releases after 1.5.0: the collectors kernel_hung and watchdog, `node_filesystem_mount_info`, "
    "`node_cpu_scaling_governor`, `node_cpu_online`, `node_cpu_frequency_avg_hertz`, "
    "`node_hwmon_freq_freq_mhz`, `node_nvme_namespace_*`, the further columns of softnet, "
    "`node_md_degraded` and `node_md_raid_disks`, `node_edac_channel_*`, "
    "`node_pressure_irq_stalled_seconds_total`, two fields of netstat, "
    "`node_systemd_virtualization_info`, and the labels `rotational` of `node_disk_info`, `adminstate` of "
    "`node_network_info`, `cntlid` of `node_nvme_info` and `device_error` of filesystem. "
    "`node_filesystem_purgeable_bytes` tells of macOS alone and is left out.",
    "`node_nvme_namespace_size_bytes` is the kernel's number of 512-byte sectors times the size of a logical "
    "block, as there: it is eight times too large for disks formatted with blocks of 4096 bytes.",
    "`node_cpu_frequency_hertz` comes from the frequency driver alone, never from /proc/cpuinfo.",
    "The systemd collector asks over the system bus (`/run/dbus/system_bus_socket`), which "
    "answers every user the system knows; the private socket, which answers root alone, is not used. "
    "Types of services are asked for every ten minutes.",
    "textfile: a link that leads out of its folder is not followed. A metric that is on the page already is "
    "left out, and the collector's success is 0 (there the whole page fails).",
    "`node_network_receive_drop_total` and its like come from `/proc/net/dev`, whose columns "
    "node_exporter computes from netlink: the same sums.",
    "`node_network_address_info` is served with `--collector.netdev.address-info`, as there; "
    "`leitstand_address_info` tells more and is there without it.",
    "`node_exporter_build_info`, `go_*` and `promhttp_*` tell of another program; ours are "
    "`leitstand_exporter_*` and `process_*`. A search for outdated node_exporters must not find this one. "
    "Where a dashboard takes its list of hosts from `node_exporter_build_info` (in the mixin: the USE method "
    "of a cluster), ask for `node_uname_info` there.",
    "Every option of node_exporter 1.0 to 1.12 is taken. What has no effect here (collectors that are not "
    "served, netlink, Go) is one line in the log; former names such as "
    "`--collector.filesystem.ignored-mount-points` do what the present ones do. Collectors that are not "
    "served may be named by `collect[]`, too.",
)


def node_exporter_page(served: Mapping[str, list[Metric]]) -> str:
    """What of node_exporter is served, what is not, and why."""
    parts = [
        MADE,
        "# What of node_exporter is served\n\n"
        "Names, labels, types and values are node_exporter's; a test runs Debian's node_exporter 1.5.0\n"
        "beside ours and compares. `--collector.NAME` and `--no-collector.NAME` switch each collector.\n\n",
        "## Where we differ\n\n",
        *(f"{_item(difference)}\n" for difference in DIFFERENCES),
        "\n## Not served\n\n| collector | on by default there | why not |\n|---|---|---|\n",
        *(
            f"| {name} | {'yes' if on else 'no'} | {why} |\n"
            for name, (on, why) in sorted({**NOT_SERVED, **NOT_SERVED_LATER}.items())
        ),
        "\n## Served\n\n",
    ]
    for name, metrics in served.items():
        off = "" if COLLECTORS[name].is_default else " (off unless `--collector." + name + "`)"
        parts += [f"### {name}: {COLLECTORS[name].summary}{off}\n\n", metric_table(metrics), "\n"]
    return "".join(parts).rstrip("\n") + "\n"


def served_metrics() -> dict[str, list[Metric]]:
    """The node_* metrics of each collector, on the host that LISTING describes."""
    with tempfile.TemporaryDirectory() as folder:
        roots = host_of(LISTING, Path(folder))
        options = Options(textfile_directory=(str(roots.root / "textfile"),))
        found = {
            name: [
                metric for metric in collected(entry.build(roots, options)) if metric[0].startswith("node_")
            ]
            for name, entry in COLLECTORS.items()
            if name not in ("systemd", "own")
        }
    # Nobody answers there for systemd: its names stand in its source.
    systemd = [metric for metric in literals(ROOM / "collectors/systemd.py") if metric[0].startswith("node_")]
    systemd += [(f"node_systemd_socket_{name}", kind, "name", what) for _, name, kind, what in CONNECTIONS]
    return dict(sorted({**found, "systemd": sorted(systemd)}.items()))


def host_of(listing: Path, folder: Path) -> Roots:
    """Write the listing's files below ``folder``: a line ``@ path`` stands before the lines of each."""
    for part in listing.read_text(encoding="utf-8").split("@ ")[1:]:
        path, _, content = part.partition("\n")
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content, encoding="utf-8")
    (folder / "root/srv").mkdir(exist_ok=True)
    return Roots(folder / "proc", folder / "sys", folder / "root")


def _item(text: str) -> str:
    return textwrap.fill(
        text, 100, initial_indent="* ", subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
