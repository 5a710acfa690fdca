"""Servers of the lab: their ports, and their ends."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lab import stack as stack_module
from lab.patience import patient
from lab.processes import LabError, PortTakenError, Server, ServerEndedError, free_port, on_free_ports
from lab.stack import Stack

ROOT = Path(__file__).parents[2]


def web_server(folder: Path, port: int) -> Server:
    argv = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port), "--directory", str(folder)]
    return Server("web", argv, folder / "web.log", port)


def test_a_server_whose_port_was_taken_meanwhile_gets_another(tmp_path: Path) -> None:
    ports = iter([free_port(), free_port(), free_port()])
    tried = []

    def start() -> Server:
        tried.append(next(ports))
        return web_server(tmp_path, tried[-1]).start()

    first = on_free_ports(start)
    ports = iter([first.port, free_port()])  # what stands there answers every page, too
    second = on_free_ports(start)
    try:
        assert tried[1] == first.port
        assert second.port == tried[2]
    finally:
        second.stop()
        first.stop()


WITHOUT_ROOT = """
import pathlib, sys
from lab.processes import Server, free_port
serve = "from leitstand.process import keep_out_of_cores as keep; keep(); import runpy, sys; sys.argv[1:] = ["
port, folder = free_port(), pathlib.Path(sys.argv[1])
serve += f"'{port}', '--bind', '127.0.0.1']; runpy.run_module('http.server', run_name='__main__')"
Server("web", [sys.executable, "-c", serve], folder / "log", port).start().stop()
"""


def test_a_server_that_keeps_out_of_cores_is_seen_to_serve_without_root(tmp_path: Path) -> None:
    """To root nothing is hidden, so root gives that up."""
    drop = ["setpriv", "--bounding-set", "-sys_ptrace"] if os.geteuid() == 0 else []
    argv = [*drop, sys.executable, "-c", WITHOUT_ROOT, str(tmp_path)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=patient(60), check=False)
    assert done.returncode == 0, done.stderr


def test_a_port_that_is_never_free_is_an_error_in_the_end(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(PortTakenError, match="web ended at once"):
            on_free_ports(lambda: web_server(tmp_path, taken.getsockname()[1]).start())


def test_a_program_that_fails_for_another_reason_is_not_tried_again(tmp_path: Path) -> None:
    tried = []

    def start() -> Server:
        tried.append(1)
        return Server("bad", ["sh", "-c", "echo no such flag; exit 2"], tmp_path / "log", free_port()).start()

    with pytest.raises(LabError, match="no such flag"):
        on_free_ports(start)
    assert len(tried) == 1


def test_waiting_ends_at_once_when_a_server_has_ended(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    server = Server("store", ["sh", "-c", "echo the disk is full; exit 1"], tmp_path / "log", 0)
    server.launch()
    stack.servers["store"] = server
    with pytest.raises(ServerEndedError, match=r"store has ended; the end of .*\nthe disk is full"):
        stack.wait(lambda: False, "what never comes", 60)


def test_one_that_was_stopped_on_purpose_is_no_failure(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    stack.servers["site"] = Server("site", ["sleep", "600"], tmp_path / "log", 0).start()
    stack.servers["site"].stop()
    stack.require_running()


@pytest.mark.slow
def test_a_stack_finds_other_ports_when_one_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        wrong = [taken.getsockname()[1]]
        free = stack_module.free_ports

        def once_wrong(*names: str) -> dict[str, int]:
            return free(*names) | ({"prometheus": wrong.pop()} if wrong else {})

        monkeypatch.setattr(stack_module, "free_ports", once_wrong)
        told: list[str] = []
        with Stack(tmp_path / "stack", told.append) as stack:
            stack.start()
            assert stack.query("vector(1)")
            assert "prometheus ended at once: another program took its port; retrying with others" in told


@pytest.mark.slow
def test_a_demo_whose_server_ends_names_it_and_ends(tmp_path: Path) -> None:
    argv = [ROOT / "demo", "--once", "--folder", tmp_path / "state"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        assert any("checking: host is monitored" in line for line in demo.stdout)
        os.kill(_pid_of(demo.pid, "prometheus"), signal.SIGKILL)
        out, errors = demo.communicate(timeout=patient(60))
    assert demo.returncode == 1
    assert errors.startswith("failed: prometheus has ended; the end of ")
    assert "Server is ready to receive web requests" in errors
    assert out.endswith("stopped; nothing is left running\n")


def _pid_of(parent: int, name: str) -> int:
    import psutil

    (found,) = [each.pid for each in psutil.Process(parent).children(True) if each.name() == name]
    return found
