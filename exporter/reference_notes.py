"""How we differ from node_exporter, in words, and what is not served for which reason."""

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

_RARE = "rare hardware, used by neither the node mixin nor Node Exporter Full"
_ELSEWHERE = "neither the node mixin nor Node Exporter Full uses it"

# Collector: on by default in Debian's node_exporter 1.5.0, and the reason.
NOT_SERVED: dict[str, tuple[bool, str]] = {
    "bcache": (True, _RARE),
    "btrfs": (True, "needs ioctls on each file system; sizes are in filesystem"),
    "buddyinfo": (False, _ELSEWHERE),
    "cgroups": (False, _ELSEWHERE),
    "drbd": (False, _RARE),
    "drm": (False, _RARE),
    "ethtool": (False, "needs ioctls on each device; errors and drops are in netdev"),
    "fibrechannel": (True, _RARE),
    "infiniband": (True, _RARE),
    "interrupts": (False, "a series for each interrupt and CPU; the sum is in stat"),
    "ipvs": (True, "load balancers only; one may be added"),
    "ksmd": (False, _ELSEWHERE),
    "lnstat": (False, _ELSEWHERE),
    "logind": (False, "sessions are no figure; users are in the inventory"),
    "meminfo_numa": (False, _ELSEWHERE),
    "mountstats": (False, "hundreds of series for each NFS mount"),
    "network_route": (False, "default routes are in the inventory"),
    "nfs": (True, "hundreds of series, nearly all of them zero; may be added on request"),
    "nfsd": (True, "hundreds of series, nearly all of them zero; may be added on request"),
    "ntp": (False, "asks a server over the network; timex tells whether the clock is kept"),
    "perf": (False, "needs rights that a monitoring program should not have"),
    "qdisc": (False, _ELSEWHERE),
    "rapl": (True, "readable by root alone since CVE-2020-8694"),
    "runit": (False, "another init; systemd is served"),
    "slabinfo": (False, "readable by root alone"),
    "supervisord": (False, "another supervisor; systemd is served"),
    "sysctl": (False, _ELSEWHERE),
    "tapestats": (True, _RARE),
    "tcpstat": (False, "walks every connection; their number is in sockstat and netstat"),
    "wifi": (False, _RARE),
    "xfs": (True, "internals of one file system; sizes are in filesystem"),
    "zfs": (True, "internals of one file system; sizes are in filesystem"),
    "zoneinfo": (False, _ELSEWHERE),
}
# The same of collectors that came with later releases.
NOT_SERVED_LATER: dict[str, tuple[bool, str]] = {
    "bcachefs": (True, _RARE),
    "cpu_vulnerabilities": (False, _ELSEWHERE),
    "dmmultipath": (True, _RARE),
    "nvmesubsystem": (False, _RARE),
    "pcidevice": (False, "a dozen series for each device, nearly all of them constant"),
    "softirqs": (False, "a series for each kind and CPU; the network's share is in softnet"),
    "swap": (False, "the sum is in meminfo"),
    "xfrm": (False, _ELSEWHERE),
}
