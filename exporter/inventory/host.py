"""The host itself: its names, its machine, its kernel and distribution."""

import os
import re
from pathlib import Path

from exporter.inventory.source import Context, Findings
from exporter.inventory.text import search
from exporter.roots import Roots
from exporter.tree import Tree

# Vendor and product of DMI -> the hypervisor, as systemd-detect-virt(1) names it.
HYPERVISORS = (
    ("KVM", "kvm"),
    ("Google Compute Engine", "google"),
    ("OpenStack", "kvm"),
    ("QEMU", "qemu"),
    ("VMware", "vmware"),
    ("VMW", "vmware"),
    ("innotek GmbH", "oracle"),
    ("VirtualBox", "oracle"),
    ("Xen", "xen"),
    ("Bochs", "bochs"),
    ("Parallels", "parallels"),
    ("BHYVE", "bhyve"),
    ("Amazon EC2", "amazon"),
    ("Hetzner", "kvm"),
    ("Microsoft Corporation Virtual Machine", "microsoft"),
)
# Where a container manager says its name: systemd for the others, and the manager itself.
CONTAINER_FILES = ("/run/systemd/container", "/run/host/container-manager")
# LXC puts these files of its own over the kernel's, proc_pid_mountinfo(5).
LXCFS = re.compile(rb"^\S+ \S+ \S+ \S+ /proc/\S+ .* - fuse\.lxcfs ", re.MULTILINE)


def read(context: Context) -> Findings:
    """One item: the host."""
    tree, roots = context.tree, context.roots
    hostname = first_line(roots.proc / "sys/kernel/hostname")
    fqdn, aliases = names_of(
        hostname, tree.text_or_empty("/etc/hosts"), tree.text_or_empty("/etc/resolv.conf")
    )
    text = tree.text_or_empty("/etc/os-release") or tree.text_or_empty("/usr/lib/os-release")
    release = parse_os_release(text)
    vendor, model = hardware(roots.sys)
    findings = Findings()
    said = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    findings.skip(max(0, len(said) - len(release)), "os-release: a line that is no variable")
    findings.add(
        "host",
        hostname=hostname,
        fqdn=fqdn,
        aliases=aliases,
        machine_id=tree.text_or_empty("/etc/machine-id").strip(),
        boot_id=first_line(roots.proc / "sys/kernel/random/boot_id"),
        virtualisation=virtualisation(roots, tree, f"{vendor} {model}"),
        hardware_vendor=vendor,
        hardware_model=model,
        kernel=first_line(roots.proc / "sys/kernel/osrelease"),
        architecture=first_line(roots.proc / "sys/kernel/arch") or os.uname().machine,
        distribution=release.get("ID", ""),
        distribution_version=release.get("VERSION_ID", ""),
        distribution_name=release.get("PRETTY_NAME", ""),
        time_zone=time_zone(tree),
    )
    return findings


def first_line(path: Path) -> str:
    """The first line of a file of the kernel, empty if there is none."""
    try:
        with path.open("rb") as file:
            return file.readline(4096).rstrip(b"\n\0").decode("utf-8", "replace").strip()
    except OSError:
        return ""


def names_of(hostname: str, hosts: str, resolver: str) -> tuple[str, list[str]]:
    """(full name, further names) of the host. No resolver is asked: it may hang or change its mind.

    As ``hostname --fqdn`` finds it: the first name of the line of hosts(5) that has the host name; else the
    host name under the search domain.
    """
    if not hostname:
        return "", []
    lines = [line.partition("#")[0].split()[1:] for line in hosts.splitlines()]
    ours = [
        names
        for names in lines
        if hostname in names or any(name.startswith(f"{hostname}.") for name in names)
    ]
    names = list(dict.fromkeys([name for line in ours for name in line if not name.startswith("localhost")]))
    full = next((name for name in [hostname, *names] if "." in name), "")
    if not full:
        found = re.search(r"^[ \t]*(?:domain|search)[ \t]+(\S+)", resolver, re.MULTILINE)
        full = f"{hostname}.{found[1].strip('.')}" if found and found[1].strip(".") else ""
    return full, sorted(set(names) - {hostname, full})


def parse_os_release(text: str) -> dict[str, str]:
    """The variables of os-release(5), unquoted."""
    pairs = re.findall(
        r"""^([A-Z_][A-Z0-9_]*)=(?:"((?:[^"\\\n]|\\.)*)"|'([^'\n]*)'|([^\s"']*))[ \t]*$""", text, re.M
    )
    return {name: re.sub(r"\\(.)", r"\1", double) or single or bare for name, double, single, bare in pairs}


def hardware(sys: Path) -> tuple[str, str]:
    """(vendor, model) by DMI, or by the device tree where there is no DMI."""
    folder = sys / "class/dmi/id"
    vendor, model = first_line(folder / "sys_vendor"), first_line(folder / "product_name")
    return vendor, model or first_line(sys / "firmware/devicetree/base/model")


def virtualisation(roots: Roots, tree: Tree, machine: str) -> str:
    """The container manager or hypervisor below this host, "none" on bare metal (systemd-detect-virt(1))."""
    container = container_manager(tree, roots.proc)
    if container:
        return container
    hypervisor = first_line(roots.sys / "hypervisor/type")
    known = hypervisor or next((name for words, name in HYPERVISORS if words in machine), "")
    return known or ("other" if has_hypervisor_flag(roots.proc) else "none")


def container_manager(tree: Tree, proc: Path) -> str:
    """docker, podman, lxc, … by the marks they leave; empty outside a container.

    https://systemd.io/CONTAINER_INTERFACE names those that a manager should leave. Where another init than
    systemd runs, with version 2 of control groups, LXC leaves the init's environment, and files over /proc.
    OpenVZ and WSL leave none, and have kernels of their own; systemd-detect-virt(1) tells both by these.
    """
    marks = {"/.dockerenv": "docker", "/run/.containerenv": "podman"}
    marked = next((name for path, name in marks.items() if tree.is_file(path)), "")
    written = [tree.text_or_empty(path).strip() for path in CONTAINER_FILES]
    named = marked or next(filter(None, written), "") or search(r"\0container=([\w-]+)", environment(proc))
    if named:
        return named
    if (proc / "vz").is_dir() and not (proc / "bc").is_dir():  # the second is on the host alone
        return "openvz"
    if re.search(r"(?i)microsoft|WSL", first_line(proc / "sys/kernel/osrelease")):
        return "wsl"
    is_lxc = "/lxc" in first_line(proc / "1/cgroup") or LXCFS.search(read_bytes(proc / "1/mountinfo"))
    return "lxc" if is_lxc else ""


def environment(proc: Path) -> str:
    """The environment of the first process, each variable after a zero; empty if not ours to read."""
    return f"\0{read_bytes(proc / '1/environ').decode('utf-8', 'replace')}"


def read_bytes(path: Path, limit: int = 1 << 20) -> bytes:
    """The beginning of a file of the kernel, empty if there is none."""
    try:
        with path.open("rb") as file:
            return file.read(limit)
    except OSError:
        return b""


def has_hypervisor_flag(proc: Path) -> bool:
    """True if the processor says that it is a virtual one (x86 only)."""
    head = read_bytes(proc / "cpuinfo", 1 << 16)
    return re.search(rb"^flags\s*:.*\bhypervisor\b", head, re.MULTILINE) is not None


def time_zone(tree: Tree) -> str:
    """The zone's name by where /etc/localtime points, which counts; by Debian's file if that is a copy."""
    try:
        _, found, zone = tree.resolve("/etc/localtime").partition("/zoneinfo/")
    except OSError:
        found, zone = "", ""
    if found:
        return zone
    named = tree.text_or_empty("/etc/timezone").strip()
    return named if re.fullmatch(r"[A-Za-z0-9_+/-]{1,64}", named) else "UTC"
