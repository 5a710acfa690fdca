"""Rolling out to a fleet of real hosts (lab/fleet), beside pip in a virtual environment on each of them.

    .venv/bin/python -m bench.rollout [--quick] [--many 50]

Needs root and what `./demo --fleet` sets up. One fleet: three hosts with systemd, `leitstand apply` as in
lab/rollout.py. Another: pip and a unit file on three hosts at once, over SSH, from a folder of wheels: the
exporter alone, without TLS, Prometheus, page or backups. A third: one leitstand host and --many others
with sshd instead of systemd, on which a few lines in place of systemctl start the exporter.
--quick leaves out the bad release and the many hosts.
"""

import argparse
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

from lab.fleet import Base, Fleet, Host, debian_base, fleet_impossible
from lab.fleet.cgroups import hierarchies
from lab.packages import WHEELS, bad_release, built_packages, package, target_of_this_python
from lab.processes import LabError
from lab.rollout import CONTROL, Applied, Bare, configuration, processes
from lab.swift_process import REPOSITORY

NAMES = (CONTROL, "web1", "web2")
COMMANDS = ("apt install ./leitstand_*.deb", "leitstand init", "leitstand apply")
BAD_RELEASE = "99.0"
UNIT = """\
[Service]
ExecStart=/opt/pip/bin/leitstand exporter --web.listen-address 127.0.0.1:9815
[Install]
WantedBy=multi-user.target
"""
PIP = """\
apt-get -qq update && apt-get -qq --yes --no-install-recommends install python3-venv >/dev/null
python3 -m venv /opt/pip
/opt/pip/bin/pip install --quiet --no-index --find-links /root/wheels 'leitstand[exporter]'
systemctl daemon-reload
systemctl enable --quiet --now pip.service
until curl -sf -o /root/answer http://127.0.0.1:9815/metrics; do sleep 0.1; done
"""
# In place of systemctl: every unit is enabled and active, and the exporter is really started and ended.
SYSTEMCTL = """\
#!/bin/bash
verb="" exporter="" units=()
for word; do
  case $word in
    -*) ;;
    *) if [ -z "$verb" ]; then verb=$word; else units+=("$word"); fi ;;
  esac
  [ "$word" != leitstand-exporter.service ] || exporter=1
done
case $verb in
  show)
    for unit in "${units[@]}"; do
      printf 'Id=%s\\nLoadState=loaded\\nActiveState=active\\n' "$unit"
      printf 'SubState=running\\nUnitFileState=enabled\\nNeedDaemonReload=no\\n\\n'
    done ;;
  is-active) echo active ;;
  is-enabled) echo enabled ;;
esac
[ -n "$exporter" ] || exit 0
case $verb in
  stop | start | restart)
    pid=$(cat /run/exporter.pid 2>/dev/null)
    rm -f /run/exporter.pid
    if [ -n "$pid" ]; then
      kill "$pid"
      while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
    fi ;;
esac
case $verb in
  start | restart)
    drop_ins=/etc/systemd/system/leitstand-exporter.service.d
    eval "$(sed -n 's/^Environment=/export /p' $drop_ins/leitstand.conf)"
    # shellcheck disable=SC2086
    setsid setpriv --reuid leitstand-exporter --regid leitstand-exporter --clear-groups \\
      /opt/leitstand/bin/leitstand exporter $OPTIONS </dev/null >/run/exporter.log 2>&1 &
    echo $! >/run/exporter.pid
    ;;
esac
exit 0
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--many", type=int, default=50, metavar="HOSTS")
    arguments = parser.parse_args()
    if reason := fleet_impossible():
        raise SystemExit(reason)
    packages, base = built_packages(target_of_this_python()), debian_base()
    print("| what | result | CPU s | seen |\n|---|---|---|---|", flush=True)
    first = three_hosts(base, packages, bad_release=not arguments.quick)
    sizes(packages)
    if not arguments.quick:
        many_hosts(base, packages, arguments.many, first)
    pip_on_each(base)
    show("roles of the prometheus.prometheus collection", "not tried", "it is on Ansible Galaxy alone")
    show("commands from bare Debian", str(len(COMMANDS)), ", ".join(f"`{command}`" for command in COMMANDS))


def show(what: str, result: str, seen: str, cpu: float | None = None) -> None:
    print(f"| {what} | {result} | {'' if cpu is None else f'{cpu:.1f}'} | {seen} |", flush=True)


def show_applied(what: str, applied: Applied, cpu: float) -> None:
    changes = ", ".join(f"{host} {len(tasks)}" for host, tasks in applied.report.get("changed", {}).items())
    show(what, f"{applied.seconds:.1f} s", f"changed: {changes or '0'}", cpu)


def cpu_seconds(fleet: Fleet) -> float:
    """CPU of all that runs on the hosts, and of what we started ourselves, such as `leitstand apply`."""
    own = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = own.ru_utime + own.ru_stime
    mounts = list(hierarchies(Path("/proc/self/mountinfo").read_text()))
    for host in fleet.hosts.values():
        for folder in (mount / host.cgroup for mount in mounts):
            if (path := folder / "cpuacct.usage").exists():
                used += int(path.read_text()) / 1e9
            elif (path := folder / "cpu.stat").exists():
                found = re.search(r"^usage_usec (\d+)", path.read_text(), re.M)
                used += int(found[1]) / 1e6 if found else 0.0
    return used


def measured(bare: Bare, *options: str) -> tuple[Applied, float]:
    """One `leitstand apply`, and the CPU seconds that passed on all hosts meanwhile."""
    before = cpu_seconds(bare.fleet)
    applied = bare.apply(*options)
    return applied, cpu_seconds(bare.fleet) - before


def three_hosts(base: Base, packages: Path, *, bad_release: bool) -> float:
    """Rows of the ordinary life of three hosts; the seconds of the first roll-out."""
    with Fleet(base, NAMES) as fleet, fleet.mail_sink():
        bare = Bare(fleet, packages)
        bare.prepare()
        begin = time.monotonic()
        bare.install()
        show(
            "package on the leitstand host",
            f"{time.monotonic() - begin:.1f} s",
            "apt, with what it depends on",
        )
        document = configuration(fleet)
        bare.configure(document)
        first, cpu = measured(bare, "--accept-host-keys")
        show_applied("first `leitstand apply`, 3 hosts", first.require(0, 1), cpu)
        second, cpu = measured(bare)
        show_applied("second", second.require(0, 1), cpu)
        changed_setting(bare, document)
        unpacked = bare.control.run(["du", "-sm", "/opt/leitstand"]).stdout.split()[0]
        small = fleet["web1"].run(["du", "-sm", "/opt/leitstand"]).stdout.split()[0]
        show("unpacked, with compiled modules", f"{unpacked} MB", f"leitstand-exporter: {small} MB")
        if bad_release:
            refused(bare)
    return first.seconds


def changed_setting(bare: Bare, document: dict[str, Any]) -> None:
    """A setting that only Prometheus reads; every process must be the one it was."""
    before = bare.processes()
    bare.configure({**document, "probing": {"interval": "20s"}})
    applied, cpu = measured(bare)
    restarted = sorted(bare.processes() ^ before)
    show_applied("a changed interval of probes", applied.require(0, 1), cpu)
    show(
        "processes that were restarted by it",
        str(len(restarted)),
        ", ".join(restarted) or "Prometheus reloaded",
    )


def refused(bare: Bare) -> None:
    """A release whose exporter starts and serves nothing."""
    with tempfile.TemporaryDirectory() as name:
        new, broken = bad_release(bare.packages, BAD_RELEASE, Path(name))
        for path in (new, broken):
            shutil.copy(path, bare.control.root / "root")
        bare.control.run(["dpkg", "--install", f"/root/{new.name}"])
    before = processes(bare.fleet["web2"])
    applied, cpu = measured(bare, "--packages", "/root")
    applied.require(3)
    others = "web2 untouched" if processes(bare.fleet["web2"]) == before else "web2 was changed"
    back = ", ".join(applied.report["rolled_back"]) or "no host"
    seen = f"rolled back: {back}; {others}"
    show("bad release, refused and rolled back", f"{applied.seconds:.1f} s", seen, cpu)
    show("of it, with the bad release on web1", f"{bad_seconds(bare.fleet['web1']):.0f} s", "its dpkg.log")


def bad_seconds(host: Host) -> float:
    """From the moment at which dpkg began to install the bad release until the one before was back."""
    lines = (host.root / "var/log/dpkg.log").read_text().splitlines()
    times = [line.split(" upgrade ")[0] for line in lines if " upgrade leitstand-exporter:" in line]
    back = [line.split(" status ")[0] for line in lines if " status installed leitstand-exporter:" in line]
    begin, end = (datetime.strptime(text, "%Y-%m-%d %H:%M:%S") for text in (times[-2], back[-1]))  # noqa: DTZ007
    return (end - begin).total_seconds()


def sizes(packages: Path) -> None:
    for name in ("leitstand", "leitstand-exporter"):
        show(f"package {name}", f"{package(name, packages).stat().st_size / 1e6:.1f} MB", "one release")


def many_hosts(base: Base, packages: Path, number: int, first: float) -> None:
    """One leitstand host and ``number`` small ones, beside the first roll-out of three."""
    names = [f"web{place}" for place in range(1, number + 1)]
    with Fleet(base, [CONTROL], boot=False) as fleet, fleet.mail_sink():
        for name in names:
            fleet.add(name, boot=False, small=True).write("/usr/bin/systemctl", SYSTEMCTL, 0o755)
        fleet.boot()
        bare = Bare(fleet, packages)
        bare.prepare()
        bare.install()
        document = configuration(fleet)
        del document["services"], document["backups"], document["stores"]
        bare.configure(document)
        applied, cpu = measured(bare, "--accept-host-keys")
        many = sum(1 for _, value in bare.query('up{job="host"}') if value == 1)
        show(f"first, {number + 1} hosts", f"{applied.seconds:.1f} s", f"{many} up, exit {applied.code}", cpu)
        show(f"{number + 1} hosts / 3 hosts", f"{applied.seconds / first:.2f}", "wall time")


def pip_on_each(base: Base) -> None:
    """What a plain script does: wheels, a virtual environment and a unit file on each host, at once."""
    with tempfile.TemporaryDirectory() as folder, Fleet(base, NAMES) as fleet:
        wheels = wheelhouse(Path(folder) / "wheels")
        hosts = list(fleet.hosts.values())

        def install(host: Host) -> None:
            fleet.run(["scp", "-q", "-r", "-F", fleet.ssh_config, wheels, f"{host.name}:/root/"])
            host.write("/etc/systemd/system/pip.service", UNIT)
            host.ssh("sh -e", input=PIP)

        show(
            "pip in a venv on each, the exporter alone",
            f"{on_all(install, hosts):.1f} s",
            "nothing is checked",
        )
        show("the same again", f"{on_all(install, hosts):.1f} s", "")
        unpacked = hosts[0].run(["du", "-sm", "/opt/pip"]).stdout.split()[0]
        show("its environment", f"{unpacked} MB", "on each host")


def on_all(act: Callable[[Host], None], hosts: Sequence[Host]) -> float:
    begin = time.monotonic()
    with ThreadPoolExecutor(len(hosts)) as pool:
        list(pool.map(act, hosts))
    return time.monotonic() - begin


def wheelhouse(folder: Path) -> Path:
    """This checkout's wheel, and the wheels that its packages were made of."""
    (found,) = WHEELS.glob(f"cp{sys.version_info[0]}{sys.version_info[1]}-*")
    shutil.copytree(found, folder)
    argv = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"the wheel was not built:\n{done.stderr[-2000:]}")
    return folder


if __name__ == "__main__":
    main()
