"""The collectors of node_exporter that are not served, and why."""

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
