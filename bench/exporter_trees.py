"""Trees of /proc, /sys and /etc that grow: mounts, network interfaces, web sites."""

from pathlib import Path


def tree_of_mounts(folder: Path, count: int) -> list[str]:
    root = folder / f"mounts-{count}"
    (root / "proc/1").mkdir(parents=True)
    (root / "proc/self").symlink_to("1")
    lines = []
    for number in range(count):
        (root / f"data/{number}").mkdir(parents=True)
        lines.append(f"{number + 30} 1 8:{number} / /data/{number} rw,relatime - ext4 /dev/disk{number} rw\n")
    (root / "proc/1/mountinfo").write_text("".join(lines))
    (root / "proc/1/mounts").write_text(
        "".join(f"/dev/disk{number} /data/{number} ext4 rw,relatime 0 0\n" for number in range(count))
    )
    return [
        f"--path.procfs={root}/proc",
        f"--path.rootfs={root}",
        "--collector.disable-defaults",
        "--collector.filesystem",
    ]


ATTRIBUTES = {
    **dict.fromkeys(("addr_assign_type", "carrier", "dormant", "link_mode", "netdev_group"), "0"),
    **dict.fromkeys(("carrier_changes", "carrier_down_count", "carrier_up_count", "name_assign_type"), "1"),
    "address": "02:00:00:00:00:01",
    "broadcast": "ff:ff:ff:ff:ff:ff",
    "duplex": "full",
    "operstate": "up",
    "dev_id": "0x0",
    "flags": "0x1003",
    "mtu": "1500",
    "speed": "1000",
    "tx_queue_len": "1000",
    "type": "1",
    "ifalias": "",
}
HEADER = (
    "Inter-|   Receive                                                |  Transmit\n face |bytes packets\n"
)


def tree_of_interfaces(folder: Path, count: int) -> list[str]:
    root = folder / f"interfaces-{count}"
    (root / "proc/net").mkdir(parents=True)
    (root / "proc/self").symlink_to(".")
    lines = [HEADER]
    for number in range(count):
        device = root / f"sys/class/net/eth{number}"
        (device / "statistics").mkdir(parents=True)
        for name, value in {**ATTRIBUTES, "ifindex": str(number), "iflink": str(number)}.items():
            (device / name).write_text(f"{value}\n")
        (device / "statistics/rx_nohandler").write_text("0\n")
        lines.append(f"eth{number}: " + " ".join(["123456789"] * 16) + "\n")
    (root / "proc/net/dev").write_text("".join(lines))
    chosen = ["--collector.disable-defaults", "--collector.netdev", "--collector.netclass"]
    return [f"--path.procfs={root}/proc", f"--path.sysfs={root}/sys", *chosen]


def tree_of_sites(folder: Path, count: int) -> list[str]:
    root = folder / f"sites-{count}"
    (root / "etc/nginx/sites-enabled").mkdir(parents=True)
    (root / "etc/nginx/nginx.conf").write_text("http { include /etc/nginx/sites-enabled/*; }\n")
    for number in range(count):
        site = f"server {{ listen 80; server_name www{number}.example.org; root /var/www/{number}; }}\n"
        (root / f"etc/nginx/sites-enabled/{number}.conf").write_text(site)
    return [f"--path.rootfs={root}"]
