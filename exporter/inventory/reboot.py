"""Whether the host waits for a reboot, and why."""

import re
from pathlib import Path

from exporter.inventory.dpkg import STATUS, STATUS_LIMIT
from exporter.inventory.host import container_manager, first_line
from exporter.inventory.source import Context, Findings, Metric
from exporter.inventory.text import search
from exporter.tree import Tree
from leitstand.versions import Key, dpkg_key, rpm_key

# Ends of releases as rpm's distributions write them.
_OF_RPM = re.compile(r"\.(?:x86_64|aarch64|ppc64le|s390x)\b")
_NUMBERS = re.compile(r"^[0-9][0-9.~-]*(?:\+[a-z0-9.+]+-)?[0-9.+~-]*")
# What stands before the flavour, with a number of its own: Debian's backports, Proxmox's, Arch's builds.
_BUILD = re.compile(r"^(?:(?:bpo|deb)[0-9.]*-|(?:arch|hardened|zen)[0-9-]+)")


def read(context: Context) -> Findings:
    """One item per reason; the figure is 1 if there is any."""
    tree = context.tree
    findings = Findings()
    if tree.stat("/run/reboot-required"):
        packages = sorted(set(tree.text_or_empty("/run/reboot-required.pkgs").split()))
        for package in packages or [""]:
            findings.add("reboot_reason", reason="package", detail=package)
    # In a container the kernel is the host's and none of our packages'.
    if not container_manager(tree, context.roots.proc):
        for detail in kernel_reasons(tree, context.roots.proc / "sys/kernel"):
            findings.add("reboot_reason", reason="kernel", detail=detail)
    family = Metric("leitstand_reboot_required", "gauge", "Whether the host needs a reboot.")
    family.add(int(bool(findings.items)))
    findings.metrics.append(family)
    return findings


def kernel_reasons(tree: Tree, kernel: Path) -> list[str]:
    """A newer kernel than the running one, and a newer build of the same release."""
    running = first_line(kernel / "osrelease")
    # What a removed kernel leaves behind, as modules built for it, has no list of what it brought itself.
    installed = [
        name
        for name in tree.names("/lib/modules")
        if any(tree.stat(f"/lib/modules/{name}/{mark}") for mark in ("modules.builtin", "kernel", "vmlinuz"))
    ]
    # The one that Proxmox boots, even if newer ones are installed: `proxmox-boot-tool kernel pin`.
    pinned = tree.text_or_empty("/etc/kernel/proxmox-boot-pin").split()
    installed = [name for name in installed if name in pinned or not pinned]
    rebuilt = rebuilt_kernel(tree, running, first_line(kernel / "version"))
    return [detail for detail in (newest_kernel(running, installed), rebuilt) if detail]


def rebuilt_kernel(tree: Tree, release: str, version: str) -> str:
    """Package and version of the running release where it is newer than what runs; empty if it is not.

    Debian keeps a release's name through small updates; its kernels tell the package's version, uname(2).
    """
    built = search(r"\bDebian (\d\S+)", version)
    status = f"\n{tree.text_or_empty(STATUS, STATUS_LIMIT)}" if built else ""
    for package in (f"linux-image-{release}", f"linux-image-{release}-unsigned"):
        paragraph = status.partition(f"\nPackage: {package}\n")[2].partition("\n\n")[0]
        installed = search(r"^Version: *(\S+)", paragraph)
        # What was removed may keep its paragraph.
        if "ok installed" in paragraph and dpkg_key(installed) > dpkg_key(built):
            return f"{package} {installed}"
    return ""


def flavour(release: str) -> str:
    """The kind of kernel of a release: "amd64" of 6.1.0-18-amd64, "x86_64" of 5.14.0-362.el9.x86_64."""
    kind = _BUILD.sub("", _NUMBERS.sub("", release))
    return kind.rpartition(".")[2]


def release_key(release: str) -> Key:
    """The order of kernels' releases, as the distribution orders versions."""
    return rpm_key(release) if _OF_RPM.search(release) else dpkg_key(release)


def newest_kernel(running: str, installed: list[str]) -> str:
    """The newest installed kernel of the running one's flavour if it is newer than that, else empty."""
    alike = [
        release for release in installed if re.match(r"\d", release) and flavour(release) == flavour(running)
    ]
    newest = max(alike, key=release_key, default="")
    return newest if newest and running and release_key(newest) > release_key(running) else ""
