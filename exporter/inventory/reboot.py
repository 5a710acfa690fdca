"""Whether the host waits for a reboot, and why."""

import re

from exporter.inventory.host import container_manager, first_line
from exporter.inventory.source import Context, Findings
from leitstand.exposition import Family
from leitstand.versions import dpkg_key


def read(context: Context) -> Findings:
    """One item per reason; the figure is 1 if there is any."""
    tree = context.tree
    findings = Findings()
    if tree.stat("/run/reboot-required"):
        packages = sorted(set(tree.text_or_empty("/run/reboot-required.pkgs").split()))
        for package in packages or [""]:
            findings.add("reboot_reason", reason="package", detail=package)
    # In a container the kernel is the host's and none of our packages'.
    if not container_manager(tree, first_line(context.roots.proc / "1/cgroup")):
        running = first_line(context.roots.proc / "sys/kernel/osrelease")
        newest = newest_kernel(running, tree.names("/lib/modules"))
        if newest:
            findings.add("reboot_reason", reason="kernel", detail=newest)
    family = Family("leitstand_reboot_required", "gauge", "Whether the host waits for a reboot.")
    family.add(int(bool(findings.items)))
    findings.families.append(family)
    return findings


def flavour(release: str) -> str:
    """What kind of kernel a release is of: "amd64" of 6.1.0-18-amd64, "x86_64" of 5.14.0-362.el9.x86_64."""
    kind = re.sub(r"^[0-9][0-9.+~-]*", "", release)
    return kind.rpartition(".")[2]


def newest_kernel(running: str, installed: list[str]) -> str:
    """The newest installed kernel of the running one's flavour if it is newer than that, else empty."""
    alike = [
        release for release in installed if re.match(r"\d", release) and flavour(release) == flavour(running)
    ]
    newest = max(alike, key=dpkg_key, default="")
    return newest if newest and running and dpkg_key(newest) > dpkg_key(running) else ""
