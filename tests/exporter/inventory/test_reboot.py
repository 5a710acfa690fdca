"""When a host waits for a reboot, and why."""

from collections.abc import Callable

import pytest

from exporter.inventory import reboot
from exporter.inventory.source import Context, Findings, Item

Items = Callable[[Findings, str], list[Item]]
Build = Callable[[dict[str, str | bytes]], Context]


@pytest.mark.parametrize(
    ("running", "installed", "newest"),
    [
        ("6.1.0-18-amd64", ["6.1.0-18-amd64", "6.1.0-9-amd64"], ""),
        ("6.1.0-18-amd64", ["6.1.0-18-amd64", "6.1.0-100-amd64"], "6.1.0-100-amd64"),
        ("6.1.0-18-amd64", ["6.1.0-18-amd64", "6.9.0-1-rt-amd64", "6.9.0-1-cloud-amd64"], ""),
        ("5.14.0-362.8.1.el9_3.x86_64", ["5.14.0-362.18.1.el9_3.x86_64"], "5.14.0-362.18.1.el9_3.x86_64"),
        ("6.8.0-40-generic", ["6.8.0-41-generic", "6.8.0-99-lowlatency"], "6.8.0-41-generic"),
        ("6.1.0-18-amd64", ["extramodules", "kabi-current"], ""),
        ("6.1.0-18-amd64", ["6.12.43+deb13-amd64", "6.12.43+deb13-cloud-amd64"], "6.12.43+deb13-amd64"),
        ("6.12.41+deb13-amd64", ["6.12.41+deb13-amd64", "6.16.3+bpo-amd64"], "6.16.3+bpo-amd64"),
        ("6.12.41+deb13-cloud-amd64", ["6.16.3+bpo-amd64", "6.1.0-99-cloud-amd64"], ""),
        # By rpm's order, in which the first release of all is older than its updates.
        (
            "4.18.0-553.el8_10.x86_64",
            ["4.18.0-553.el8_10.x86_64", "4.18.0-553.5.1.el8_10.x86_64"],
            "4.18.0-553.5.1.el8_10.x86_64",
        ),
        ("4.18.0-553.5.1.el8_10.x86_64", ["4.18.0-553.el8_10.x86_64"], ""),
        ("3.10.0-1160.el7.x86_64", ["3.10.0-1160.119.1.el7.x86_64"], "3.10.0-1160.119.1.el7.x86_64"),
        ("5.10.0-0.bpo.12-amd64", ["5.10.0-0.bpo.15-amd64"], "5.10.0-0.bpo.15-amd64"),
        ("6.5.0-0.deb12.4-amd64", ["6.6.13+bpo-amd64", "6.6.13+bpo-rt-amd64"], "6.6.13+bpo-amd64"),
        ("6.16.12+deb14+1-amd64", ["6.17.5+deb14-amd64"], "6.17.5+deb14-amd64"),
        ("6.14.8-2-bpo12-pve", ["6.14.11-3-pve"], "6.14.11-3-pve"),
        ("6.6.31+rpt-rpi-v8", ["6.6.51+rpt-rpi-v8", "6.12.1+rpt-rpi-2712"], "6.6.51+rpt-rpi-v8"),
        ("6.9.7-arch1-1", ["6.9.8-arch1-2"], "6.9.8-arch1-2"),
    ],
)
def test_a_reboot_is_due_for_a_newer_kernel_of_the_same_flavour(
    running: str, installed: list[str], newest: str
) -> None:
    assert reboot.newest_kernel(running, installed) == newest


@pytest.mark.parametrize(
    ("pinned", "reasons"),
    [("", ["6.8.12-9-pve"]), ("6.8.12-1-pve\n", []), ("6.8.12-4-pve\n", ["6.8.12-4-pve"])],
)
def test_a_kernel_that_proxmox_must_not_boot_is_no_reason_to_reboot(
    host: Build, pinned: str, reasons: list[str]
) -> None:
    releases = [f"6.8.12-{number}-pve" for number in (1, 4, 9)]
    files = {f"/lib/modules/{release}/modules.builtin": "" for release in releases}
    context = host({**files, "/etc/kernel/proxmox-boot-pin": pinned})
    kernel = context.roots.proc / "sys/kernel"
    kernel.mkdir(parents=True)
    (kernel / "osrelease").write_text("6.8.12-1-pve\n")
    assert reboot.kernel_reasons(context.tree, kernel) == reasons


def test_the_reasons_for_a_reboot_are_named(host: Build, items: Items) -> None:
    context = host(
        {
            "/run/reboot-required": "*** System restart required ***\n",
            "/run/reboot-required.pkgs": "linux-image-6.1.0-30-amd64\nlibc6\nlibc6\n",
            "/lib/modules/6.1.0-30-amd64/modules.builtin": "",
            "/lib/modules/6.1.0-31-amd64/updates/dkms/left-behind.ko": "",
        }
    )
    kernel = context.roots.proc / "sys/kernel"
    kernel.mkdir(parents=True)
    (kernel / "osrelease").write_text("6.1.0-29-amd64\n")
    findings = reboot.read(context)
    assert [(item["reason"], item["detail"]) for item in items(findings, "reboot_reason")] == [
        ("package", "libc6"),
        ("package", "linux-image-6.1.0-30-amd64"),
        ("kernel", "6.1.0-30-amd64"),
    ]
    assert findings.metrics[0].rows == [((), 1)]


@pytest.mark.parametrize(
    ("state", "version", "expected"),
    [
        ("install ok installed", "6.1.82-1", [("kernel", "linux-image-6.1.0-18-amd64 6.1.82-1")]),
        ("install ok installed", "6.1.76-1", []),
        ("deinstall ok config-files", "6.1.82-1", []),
    ],
)
def test_a_newer_build_of_the_running_kernel_waits_for_a_reboot(
    host: Build, items: Items, state: str, version: str, expected: list[tuple[str, str]]
) -> None:
    package = f"Package: linux-image-6.1.0-18-amd64\nStatus: {state}\nVersion: {version}\n"
    context = host({"/var/lib/dpkg/status": f"Package: a\nVersion: 9\n\n{package}\nPackage: b\n"})
    kernel = context.roots.proc / "sys/kernel"
    kernel.mkdir(parents=True)
    (kernel / "osrelease").write_text("6.1.0-18-amd64\n")
    (kernel / "version").write_text("#1 SMP PREEMPT_DYNAMIC Debian 6.1.76-1 (2024-02-01)\n")
    found = items(reboot.read(context), "reboot_reason")
    assert [(item["reason"], item["detail"]) for item in found] == expected


def test_a_host_that_needs_no_reboot_reports_a_zero(host: Build) -> None:
    assert reboot.read(host({})).metrics[0].rows == [((), 0)]
