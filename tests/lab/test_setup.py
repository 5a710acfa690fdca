"""What ./demo and ./check do to the machine they are run on, and to the one who presses Ctrl-C."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.patience import patient
from lab.processes import wait_until

REPOSITORY = Path(__file__).parents[2]
STANDIN = Path(__file__).parent / "standin" / "machine.py"
PROGRAMS = ("apt-get", "apt-mark", "dpkg", "dpkg-query", "systemctl")
INSTALL = REPOSITORY / "lab" / "install.sh"


@dataclass
class Machine:
    """A made-up machine; see ``standin/machine.py``."""

    folder: Path

    @property
    def policy(self) -> Path:
        return self.folder / "root" / "usr" / "sbin" / "policy-rc.d"

    @property
    def record(self) -> Path:
        return self.folder / "root" / "var" / "lib" / "leitstand-setup"

    def environment(self) -> dict[str, str]:
        path = f"{self.folder}/bin:{os.environ['PATH']}"
        return {
            **os.environ,
            "PATH": path,
            "MACHINE": str(self.folder),
            "LEITSTAND_ROOT": str(self.folder / "root"),
        }

    def names(self, kind: str) -> set[str]:
        return {path.name for path in (self.folder / kind).iterdir()}

    def put(self, kind: str, *names: str) -> None:
        for name in names:
            (self.folder / kind / name).touch()

    @contextmanager
    def set_up(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """A set-up that is running."""
        with subprocess.Popen(
            ["env", "--default-signal", INSTALL, *words],  # whatever this run was started to ignore
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                yield process
            finally:
                (self.folder / "gate").unlink(missing_ok=True)

    def done(self, *words: str) -> str:
        """A set-up that ended well; what it told."""
        with self.set_up(*words) as process:
            told = process.communicate()[0]
            assert process.returncode == 0
            return told

    @property
    def gate(self) -> Path:
        return self.folder / "gate"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with one server that its admin enabled."""
    for kind in ("bin", "installed", "auto", "enabled", "started", "waiting", "root/usr/sbin"):
        (tmp_path / kind).mkdir(parents=True)
    for name in PROGRAMS:
        (tmp_path / "bin" / name).symlink_to(STANDIN)
    found = Machine(tmp_path)
    found.put("installed", "admins-own")
    found.put("enabled", "admins-own")
    return found


def test_installed_services_are_neither_started_nor_enabled(machine: Machine) -> None:
    machine.done("server", "prober")
    assert machine.names("installed") == {"admins-own", "server", "prober"}
    assert machine.names("started") == set()
    assert machine.names("enabled") == {"admins-own"}, "what the admin had stays as it is"
    assert not machine.policy.exists()
    assert (machine.record / "packages").read_text().split() == ["prober", "server"]


def test_services_that_were_there_before_are_not_recorded(machine: Machine) -> None:
    machine.done("server", "admins-own")
    assert (machine.record / "packages").read_text().split() == ["server"]
    assert "admins-own" in machine.names("enabled")


def test_a_policy_of_the_admin_stays(machine: Machine) -> None:
    machine.policy.write_text("#!/bin/sh\nexit 101\n")
    machine.done("server")
    assert machine.policy.read_text() == "#!/bin/sh\nexit 101\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_set_up_that_is_broken_off_leaves_no_policy(machine: Machine, number: signal.Signals) -> None:
    machine.gate.touch()
    with machine.set_up("server") as process:
        wait_until(lambda: machine.names("waiting"), "apt-get to wait")
        assert machine.policy.exists()
        process.send_signal(number)
        process.wait(60)
        assert not machine.policy.exists()
        assert machine.names("enabled") == {"admins-own"}


def test_leftovers_of_a_killed_program_are_repaired_by_the_next(machine: Machine) -> None:
    machine.gate.touch()
    with machine.set_up("server") as process:
        wait_until(lambda: machine.names("waiting"), "apt-get to wait")
        process.kill()
        process.wait(60)
    wait_until(lambda: "server" in machine.names("enabled"), "apt-get to go on to its end")
    assert machine.policy.exists()
    machine.put("installed", "asked-for-since")
    machine.put("enabled", "asked-for-since")
    machine.done()
    assert not machine.policy.exists()
    assert machine.names("enabled") == {"admins-own", "asked-for-since"}
    assert (machine.record / "packages").read_text().split() == ["server"]


def test_of_two_at_once_one_waits_and_neither_takes_the_policy_of_the_other(machine: Machine) -> None:
    machine.gate.touch()
    with machine.set_up("server") as first:
        wait_until(lambda: machine.names("waiting"), "the first apt-get to wait")
        with machine.set_up("prober") as second:
            assert second.stdout is not None
            assert second.stdout.readline() == "waiting: another set-up is installing packages\n"
            assert machine.policy.exists()
            machine.gate.unlink()
            assert (first.wait(60), second.wait(60)) == (0, 0)
    assert machine.names("started") == set()
    assert machine.names("enabled") == {"admins-own"}
    assert not machine.policy.exists()
    assert (machine.record / "packages").read_text().split() == ["prober", "server"]


def test_another_program_that_installs_is_waited_for_with_a_line(machine: Machine) -> None:
    (machine.folder / "locked").touch()
    assert "waiting: another program is installing packages\n" in machine.done("server")


def test_remove_removes_what_was_installed_and_no_more(machine: Machine) -> None:
    machine.done("prober", "tool")
    assert machine.done("--remove") == "Debian packages removed: 2\n"
    assert machine.names("installed") == {"admins-own"}
    assert not machine.record.exists()
    assert machine.done("--remove") == "", "twice does no harm"


def test_remove_keeps_what_is_used_since(machine: Machine) -> None:
    machine.done("prober", "tool", "library", "server", "asked-for")
    machine.put("enabled", "tool")
    (machine.folder / "auto" / "asked-for").unlink()  # as apt does for what an admin installs by name
    told = machine.done("--remove")
    assert told == "Debian packages removed: 1; kept, because they are in use by now: tool server library\n"
    assert machine.names("installed") == {"admins-own", "tool", "asked-for", "server", "library"}


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """An environment whose PATH has the least that every Debian has, and no Python."""
    (tmp_path / "bare").mkdir()
    for name in ("bash", "env", "dirname", "readlink", "cat", "grep"):
        (tmp_path / "bare" / name).symlink_to(f"/usr/bin/{name}")
    return {"PATH": str(tmp_path / "bare"), "LEITSTAND_ROOT": str(tmp_path)}


@pytest.mark.parametrize("program", ["demo", "check"])
def test_help_needs_no_set_up_and_no_python(bare: dict[str, str], program: str) -> None:
    done = subprocess.run(
        [REPOSITORY / program, "--help"], env=bare, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"usage: ./{program} ")
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["demo", "--bogus"], "unknown option: --bogus"),
        (["demo", "once"], "unknown option: once"),
        (["demo", "--once", "--incident"], "--once and --incident cannot be combined"),
        (["demo", "--folder"], "--folder needs the name of a folder"),
        (["demo", "--once", "--folder", ""], "--folder needs the name of a folder"),
        (["demo", "--fleet", "--incident"], "--fleet and --incident cannot be combined"),
        (["demo", "--incident", "--once", "--fleet"], "--incident and --once cannot be combined"),
        (["demo", "--fleet", "--folder", "mine"], "--fleet and --folder cannot be combined"),
        (["check", "--bogus"], "unknown option: --bogus"),
        (["check", "tests", "--fast"], "--fast must be the first argument"),
    ],
)
def test_a_wrong_option_is_named_before_anything_is_set_up(
    bare: dict[str, str], command: list[str], told: str
) -> None:
    program, *words = command
    done = subprocess.run(
        [REPOSITORY / program, *words], env=bare, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {told}\n  hint: ./{program} --help")


@pytest.mark.parametrize("program", ["demo", "check"])
def test_a_python_that_is_too_old_is_one_clear_line(bare: dict[str, str], program: str) -> None:
    python = Path(bare["PATH"]) / "python3"
    python.write_text("#!/bin/bash\ncase $* in *print*) echo 3.10 ;; *) exit 1 ;; esac\n")
    python.chmod(0o755)
    done = subprocess.run([REPOSITORY / program], env=bare, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.splitlines()[0] == "error: needs Python 3.11 or newer; this is 3.10"
    assert len(done.stderr.splitlines()) == 2


def test_a_newer_python_beside_an_old_one_is_taken(bare: dict[str, str]) -> None:
    for name, status in (("python3", 1), ("python3.12", 0)):
        python = Path(bare["PATH"]) / name
        python.write_text(f"#!/bin/bash\nexit {status}\n")
        python.chmod(0o755)
    script = ". lab/setup.sh; find_python; echo $PYTHON"
    done = subprocess.run(
        ["bash", "-c", script], env=bare, cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout == "python3.12\n"


def answers_ctrl_c(process: int) -> bool:
    """Whether a process catches or blocks SIGINT: what comes before is the kernel's and the shell's own."""
    status = Path(f"/proc/{process}/status").read_text()
    masks = [int(status.split(f"{name}:")[1].split()[0], 16) for name in ("SigBlk", "SigCgt")]
    return any(mask >> (signal.SIGINT - 1) & 1 for mask in masks)


@pytest.mark.parametrize("after", [0.03, 0.06, 0.1, 0.2, 0.3])
def test_ctrl_c_while_the_demo_begins_is_one_line(tmp_path: Path, after: float) -> None:
    argv = ["env", "--default-signal", REPOSITORY / "demo", "--folder", tmp_path / "state"]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        wait_until(lambda: answers_ctrl_c(process.pid), "the demo to answer Ctrl-C", pause=0.001)
        time.sleep(after)  # the moment is what is tried; whichever it hits, the answer is the same
        os.killpg(process.pid, signal.SIGINT)
        errors = process.communicate(timeout=patient(200))[1]
    assert process.returncode == 130
    assert errors.strip() in ("interrupted", "interrupted before the end")


@pytest.mark.parametrize("after", [0, 0.05, 0.1, 0.15, 0.2])
def test_ctrl_c_while_leitstand_begins_is_one_line(tmp_path: Path, after: float) -> None:
    (tmp_path / "leitstand.yml").write_text("hosts: {}\n")
    argv = [Path(sys.executable).with_name("leitstand"), "backup", "serve"]
    # Python tells each module that it has loaded, the first ones long before the command line is there.
    told = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}
    with subprocess.Popen(argv, cwd=tmp_path, env=told, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if " click._" in line)
        time.sleep(after)
        process.send_signal(signal.SIGINT)
        errors = "".join(line for line in process.stderr if not line.startswith("import time:"))
    assert "Traceback" not in errors
    assert process.returncode in (0, 130), errors


def test_tests_that_need_the_machine_run_one_at_a_time_for_any_n(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / "check", tmp_path)
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab/setup.sh").write_text("VENV=.; FLEET_PACKAGES=; set_up() { :; }; say() { :; }\n")
    (tmp_path / "bin").mkdir()
    for tool in ("ruff", "mypy", "lint-imports", "yamllint", "shellcheck", "promtool", "pytest"):
        (tmp_path / "bin" / tool).write_text(f'#!/bin/sh\necho {tool} "$@" >> {tmp_path}/calls\n')
        (tmp_path / "bin" / tool).chmod(0o755)
    subprocess.run(["./check", "-n", "4"], cwd=tmp_path, check=True)
    calls = [line for line in (tmp_path / "calls").read_text().splitlines() if line.startswith("pytest")]
    workers = [re.findall(r"-n (\d)", call)[-1] for call in calls]  # the last one counts
    assert workers == ["4", "0"]


@pytest.mark.skipif(os.geteuid() != 0, reason="the hosts of a fleet are root's")
def test_remove_removes_what_hosts_are_made_from_unless_some_are_running(tmp_path: Path) -> None:
    (tmp_path / "lab").mkdir()
    for name in ("demo", "lab/setup.sh", "lab/install.sh"):
        shutil.copy(REPOSITORY / name, tmp_path / name)
    cache = tmp_path / "cache"
    (cache / "fleets").mkdir(parents=True)
    lock = cache / "fleets" / "1-running.lock"
    environment = {**os.environ, "LEITSTAND_LAB_CACHE": str(cache), "LEITSTAND_ROOT": str(tmp_path / "root")}
    remove = ["./demo", "--remove"]
    with subprocess.Popen(["flock", lock, "cat"], stdin=subprocess.PIPE) as fleet:
        wait_until(lambda: lock.exists() and subprocess.call(["flock", "-n", lock, "true"]), "the lock")
        refused = subprocess.run(remove, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert fleet.stdin is not None
        fleet.stdin.close()
    assert (refused.returncode, cache.exists()) == (3, True)
    assert "a fleet of hosts is running" in refused.stderr
    subprocess.run(remove, cwd=tmp_path, env=environment, check=True)
    assert not cache.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_fleet_without_root_is_refused_before_anything_is_set_up() -> None:
    another_user = {"user": 65534, "group": 65534, "extra_groups": []}
    if subprocess.run(["test", "-r", INSTALL], check=False, **another_user).returncode:
        pytest.skip("other users cannot read this checkout")
    argv = ["bash", REPOSITORY / "demo", "--fleet", "--once"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, **another_user)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.splitlines() == [
        "error: --fleet needs root, for the namespaces and mounts of its hosts",
        "  hint: as root: ./demo --fleet",
    ]
