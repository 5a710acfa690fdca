"""The collectors of node_exporter that are not served, and why."""

_RARE = "rare hardware, used by neither the node mixin nor Node Exporter Full"
_ELSEWHERE = "neither the node mixin nor Node Exporter Full uses it"

# Collector: whether Debian's node_exporter 1.5.0 enables it by default, and why it is not served.
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
    "interrupts": (False, "one series per interrupt and CPU; the total is in stat"),
    "ipvs": (True, "load balancers only; may be added on request"),
    "ksmd": (False, _ELSEWHERE),
    "lnstat": (False, _ELSEWHERE),
    "logind": (False, "users are in the inventory"),
    "meminfo_numa": (False, _ELSEWHERE),
    "mountstats": (False, "hundreds of series per NFS mount"),
    "network_route": (False, "default routes are in the inventory"),
    "nfs": (True, "hundreds of series, nearly all of them zero; may be added on request"),
    "nfsd": (True, "hundreds of series, nearly all of them zero; may be added on request"),
    "ntp": (False, "queries a server over the network; timex shows whether the clock is synchronised"),
    "perf": (False, "needs privileges that a monitoring program should not have"),
    "qdisc": (False, _ELSEWHERE),
    "rapl": (True, "readable only by root since CVE-2020-8694"),
    "runit": (False, "another init system; systemd is served"),
    "slabinfo": (False, "readable only by root"),
    "supervisord": (False, "another supervisor; systemd is served"),
    "sysctl": (False, _ELSEWHERE),
    "tapestats": (True, _RARE),
    "tcpstat": (False, "reads every connection; totals are in sockstat and netstat"),
    "wifi": (False, _RARE),
    "xfs": (True, "internals of one file system; sizes are in filesystem"),
    "zfs": (True, "internals of one file system; sizes are in filesystem"),
    "zoneinfo": (False, _ELSEWHERE),
}
# The same for collectors added in later releases.
NOT_SERVED_LATER: dict[str, tuple[bool, str]] = {
    "bcachefs": (True, _RARE),
    "cpu_vulnerabilities": (False, _ELSEWHERE),
    "dmmultipath": (True, _RARE),
    "nvmesubsystem": (False, _RARE),
    "pcidevice": (False, "a dozen series per device, nearly all of them constant"),
    "softirqs": (False, "one series per kind and CPU; network processing is in softnet"),
    "swap": (False, "the total is in meminfo"),
    "xfrm": (False, _ELSEWHERE),
}
