"""systemd units for jobs: good in systemd's own eyes, hardened, and no more than the jobs that there are."""

import ctypes
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

Site = Any
PROGRAM = Path(__file__).parents[3] / ".venv" / "bin" / "leitstand"
LIBC = ctypes.CDLL(None)
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "units").mkdir()
    return tmp_path / "units"


def install(site: Site, out: Path) -> Any:
    return site.good("install-timers", "--out", out, "--program", PROGRAM)


def exposure(service: Path) -> float:
    """systemd's own mark for a service: 0 is locked up, 10 is wide open."""
    argv = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(service)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    (mark,) = re.findall(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    return float(mark)


def verify(*files: Path) -> str:
    argv = ["systemd-analyze", "verify", "--man=no", *map(str, files)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return "\n".join(line for line in (done.stdout + done.stderr).splitlines() if "leitstand" in line)


def test_systemd_finds_nothing_wrong(site: Site, out: Path) -> None:
    site.document["site"] = {"time_zone": "Europe/Berlin"}
    site.job.update(
        verify={"schedule": "weekly"}, drill={"schedule": "0 5 13 * fri"}, prune={"schedule": "every 12h"}
    )
    told = install(site, out).stdout
    names = sorted(path.name for path in out.iterdir())
    assert names == sorted(
        f"leitstand-backup-{action}-site.{kind}"
        for action in ("run", "verify", "drill", "prune")
        for kind in ("service", "timer")
    )
    assert verify(*out.iterdir()) == ""
    assert "wrote leitstand-backup-run-site.timer" in told
    timer = (out / "leitstand-backup-run-site.timer").read_text()
    for line in ("OnCalendar=*-*-* 03:00:00 Europe/Berlin", "Persistent=true", "RandomizedDelaySec=300"):
        assert line in timer.splitlines()
    drill = (out / "leitstand-backup-drill-site.timer").read_text()
    assert "OnCalendar=*-*-13 05:00:00 Europe/Berlin" in drill
    assert "OnCalendar=Fri *-*-* 05:00:00 Europe/Berlin" in drill
    assert "--share 1/30 --weekly-spot 20" in (out / "leitstand-backup-verify-site.service").read_text()


def test_services_are_locked_up(site: Site, out: Path) -> None:
    site.document["hosts"]["far"] = {"address": "192.0.2.1", "ssh": {"user": "backup"}}
    site.document["backups"]["far"] = {**site.job, "host": "far", "sources": [{"files": "/srv"}]}
    install(site, out)
    assert exposure(out / "leitstand-backup-run-site.service") <= 3.0
    assert exposure(out / "leitstand-backup-run-far.service") <= 3.0
    far = (out / "leitstand-backup-run-far.service").read_text()
    assert "CapabilityBoundingSet=CAP_DAC_OVERRIDE\n" in far, "it reads nothing of this host"


def test_a_service_may_write_only_where_its_job_does(site: Site, out: Path) -> None:
    install(site, out)
    service = (out / "leitstand-backup-run-site.service").read_text()
    assert "ProtectSystem=strict" in service
    written = set(re.findall(r"ReadWritePaths=-(\S+)", service))
    assert written == {str(site.folder / name) for name in ("state", "metrics", "disk", "scratch")}
    site.job["drill"] = {"schedule": "weekly"}
    install(site, out)
    drill = (out / "leitstand-backup-drill-site.service").read_text()
    assert "ReadWritePaths=-/tmp -/var/tmp\n" in drill, "a large manifest is read there"


def test_the_state_folder_of_a_new_machine_is_made_before_it_is_to_be_written(site: Site, out: Path) -> None:
    install(site, out)
    assert "StateDirectory" not in (out / "leitstand-backup-run-site.service").read_text()
    del site.document["paths"]
    install(site, out)
    service = out / "leitstand-backup-run-site.service"
    assert "StateDirectory=leitstand\nReadWritePaths=" in service.read_text()
    assert "Failed" not in verify(service)


def test_files_that_a_job_reads_or_runs_are_visible_to_it(site: Site, out: Path) -> None:
    site.job["sources"] = [{"files": "/"}]
    site.job["hooks"] = {"before": [["lvcreate", "x"]]}
    install(site, out)
    service = (out / "leitstand-backup-run-site.service").read_text()
    for hindrance in (
        "PrivateTmp",
        "ProtectKernelModules",
        "NoNewPrivileges",
        "PrivateDevices",
        "SystemCall",
    ):
        assert f"{hindrance}=" not in service.replace("SystemCallArchitectures=", "")
    assert "KillMode=mixed" in service, "hooks are not killed with the run: they clean up"


def test_odd_folders_are_those_that_the_unit_may_write(site: Site, out: Path, tmp_path: Path) -> None:
    state = tmp_path / '100% $HOME "q"'
    site.document["paths"] = {"state": str(state), "metrics": str(tmp_path)}
    install(site, out)
    service = out / "leitstand-backup-run-site.service"
    assert "Failed" not in verify(service)
    # Unlike a command, a path knows specifiers but no variables: systemd.exec(5).
    assert f'ReadWritePaths="-{tmp_path}/100%% $HOME \\"q\\""\n' in service.read_text()


def test_odd_paths_reach_the_command_as_they_are(site: Site, out: Path, tmp_path: Path) -> None:
    folder = tmp_path / "100% $HOME \"q\" 'it' ; x"
    folder.mkdir()
    site.write()
    config = folder / "leitstand.yml"
    config.write_text(site.config.read_text())
    from leitstand.cli import run

    assert (
        run(["backup", "install-timers", "-c", str(config), "--out", str(out), "--program", "/bin/echo"]) == 0
    )
    service = out / "leitstand-backup-run-site.service"
    assert "Failed" not in verify(service)
    (line,) = re.findall(r"^ExecStart=(.*)$", service.read_text(), re.MULTILINE)
    assert '"' + str(config).replace('"', '\\"').replace("%", "%%").replace("$", "$$") + '"' in line


def test_units_of_jobs_that_are_gone_are_removed_and_others_stay(site: Site, out: Path) -> None:
    install(site, out)
    (out / "leitstand-backup-run-mine.service").write_text("[Service]\n")
    (out / "other.timer").write_text("")
    site.document["backups"]["new"] = site.document["backups"].pop("site")
    told = install(site, out).stdout
    assert sorted(path.name for path in out.iterdir()) == [
        "leitstand-backup-run-mine.service",
        "leitstand-backup-run-new.service",
        "leitstand-backup-run-new.timer",
        "other.timer",
    ]
    assert "removed leitstand-backup-run-site.timer" in told


def test_a_job_without_a_schedule_has_no_units(site: Site, out: Path) -> None:
    del site.job["schedule"]
    assert "no job has a schedule" in install(site, out).stderr
    assert list(out.iterdir()) == []


def test_a_folder_that_is_not_there_is_one_clear_line(site: Site, tmp_path: Path) -> None:
    ran = site.leitstand("install-timers", "--out", tmp_path / "none")
    assert ran.status == 2
    assert "there is no such folder" in ran.errors[0]


def test_a_run_needs_no_memory_that_is_writable_and_executable(on_swift: Site) -> None:
    """As MemoryDenyWriteExecute has it; systemd does it by seccomp, the kernel's own way is as strict."""

    def deny() -> None:
        if LIBC.prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0):
            os._exit(77)

    on_swift.write()
    argv = [str(PROGRAM), "backup", "run", "site", "--config", str(on_swift.config)]
    done = subprocess.run(argv, preexec_fn=deny, capture_output=True, text=True, check=False)
    if done.returncode == 77:
        pytest.skip("the kernel has no PR_SET_MDWE (Linux 6.3)")
    assert done.returncode == 0, done.stderr


def test_the_unit_of_serve_is_locked_up_and_its_drop_in_is_understood(tmp_path: Path) -> None:
    """Both as they are given to users; only the program stands elsewhere."""
    root = Path(__file__).parents[3]
    unit = tmp_path / "leitstand-backup.service"
    text = (root / "deploy" / "systemd" / unit.name).read_text()
    unit.write_text(text.replace("/opt/leitstand/bin/leitstand", str(PROGRAM)))
    assert verify(unit) == ""
    assert exposure(unit) < 3.0
    page = (root / "docs" / "backups-automatic.md").read_text()
    (drop_in,) = re.findall(r"```ini\n(\[Service\]\n# folder stores.*?)```", page, re.DOTALL)
    unit.write_text(unit.read_text() + drop_in)
    assert verify(unit) == ""
    assert exposure(unit) > 3.0, "the rights that hooks may need are given back"


def test_serve_starts_as_in_its_unit(site: Site) -> None:
    unit = Path(__file__).parents[3] / "deploy" / "systemd" / "leitstand-backup.service"
    (words,) = re.findall(r"^ExecStart=\S+ backup (.*) \$OPTIONS$", unit.read_text(), re.MULTILINE)
    (options,) = re.findall(r"^#   OPTIONS=(.*)$", unit.read_text(), re.MULTILINE)
    arguments = [*words.split(), *options.split()]
    with site.start(*arguments) as process:
        assert process.stderr is not None
        assert "serving 1 tasks of 1 jobs" in process.stderr.readline()
        process.terminate()
        assert process.wait(60) == 0


def test_jitter_is_a_tenth_of_the_distance_at_most_as_with_serve(site: Site, out: Path) -> None:
    site.job.update(schedule="hourly", jitter="50m")
    install(site, out)
    timer = (out / "leitstand-backup-run-site.timer").read_text()
    assert "RandomizedDelaySec=360\nFixedRandomDelay=true\n" in timer


def test_timers_counted_from_the_last_run_check_whether_they_are_due(
    site: Site, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.job.update(schedule="every 6h", jitter="0s")
    install(site, out)
    assert verify(*out.iterdir()) == ""
    timer = (out / "leitstand-backup-run-site.timer").read_text()
    assert "OnUnitInactiveSec=5m\n" in timer
    assert "RandomizedDelaySec" not in timer, "it would be late by that each time"
    assert "--if-due" in (out / "leitstand-backup-run-site.service").read_text()
    now = time.time()

    def run_at(hours: float) -> str:
        monkeypatch.setattr(time, "time", lambda: now + hours * 3600)
        return str(site.good("run", "site", "--if-due").stdout)

    assert "not due before" in run_at(0), "a new job waits for its time"
    assert "not due before" in run_at(5.9)
    assert "complete snapshot" in run_at(6.2)
    assert "not due before" in run_at(12.0), "as after a reboot: this process knows nothing of the last one"
    assert "complete snapshot" in run_at(12.3)


def test_a_try_that_failed_is_made_again_as_late_as_another(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.job.update(schedule="every 6h", jitter="0s")
    now = time.time()
    site.good("run", "site", "--if-due")
    monkeypatch.setattr(time, "time", lambda: now + 7 * 3600)
    site.disk.rename(site.disk.with_name("away"))
    assert site.leitstand("run", "site", "--if-due").status == 3
    assert "not due" in site.good("run", "site", "--if-due").stdout


def test_a_task_without_a_schedule_is_never_due(site: Site) -> None:
    del site.job["schedule"]
    ran = site.leitstand("run", "site", "--if-due")
    assert (ran.status, ran.errors) == (2, ["site/run has no schedule"])
