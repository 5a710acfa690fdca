"""The process apart that runs the sources: what goes wrong in one of them costs that one alone."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter import tree as tree_module
from exporter.inventory.order import Order
from exporter.inventory.part import render_part, to_wire
from exporter.inventory.runner import parse_answer
from exporter.inventory.source import Context, Findings
from exporter.inventory.worker import look
from lab.patience import patient
from lab.processes import wait_until

Build = Callable[[dict[str, str | bytes]], Context]


def test_sources_without_an_answer_of_the_worker_fail_with_its_last_output() -> None:
    outcomes = parse_answer(b"", "Traceback\nMemoryError: no more\n", ["host", "dpkg"])
    assert [(outcome.source, outcome.error) for outcome in outcomes] == [
        ("host", "MemoryError: no more"),
        ("dpkg", "MemoryError: no more"),
    ]


def test_half_a_line_of_a_worker_that_was_killed_costs_the_others_nothing() -> None:
    part = to_wire(render_part(Findings([("dns_server", {"address": "192.0.2.1"})]), ()))
    line = json.dumps({"source": "addresses", "duration": 1, "part": part.decode()}).encode()
    whole, half = parse_answer(line + b"\n" + line[:-9], "", ["addresses", "dpkg"])
    assert whole.part is not None and whole.part.kinds["dns_server"].count == 1
    assert (half.part, half.error) == (None, "the worker ended early")


HOSTILE = """
import os, time
from exporter.inventory import SOURCES, worker
from exporter.inventory.readers import READERS
from exporter.inventory.source import Findings, SourceEntry

def hang(context): time.sleep(600)
def spin(context):
    while True: pass
def raises(context): raise ValueError("bad file")
def exits(context): os._exit(3)
def eats(context): return bytearray(1 << 40)
def floods(context):
    findings = Findings()
    for number in range(200_000): findings.add("dns_server", address="x" * 60 + str(number))
    return findings
def prints(context):
    print("not an answer", flush=True)
    return Findings()
def leaves(context):
    if os.fork() == 0:
        time.sleep(600)
    return Findings()

for function in (hang, spin, raises, exits, eats, floods, prints, leaves):
    limit = 1.0 if function in (hang, spin, leaves) else 120.0
    SOURCES[function.__name__] = SourceEntry("", ("dns_server",), limit=limit)
    READERS[function.__name__] = function
worker.main()
"""


def test_a_source_that_hangs_crashes_or_floods_costs_only_itself(real_host: Context) -> None:
    names = ["hang", "spin", "raises", "exits", "eats", "floods", "prints", "leaves", "host"]
    order = Order(names, real_host.roots, [])
    done = subprocess.run(
        [sys.executable, "-c", HOSTILE],
        input=order.to_wire(),
        capture_output=True,
        check=True,
        timeout=patient(600),
    )
    outcomes = {outcome.source: outcome for outcome in parse_answer(done.stdout, done.stderr.decode(), names)}
    assert "took longer than 1 s" in outcomes["hang"].error
    assert "took longer than 1 s" in outcomes["spin"].error
    assert outcomes["raises"].error == "ValueError: bad file"
    assert "died" in outcomes["exits"].error
    assert "MemoryError" in outcomes["eats"].error
    flooded = outcomes["floods"]
    assert flooded.part and flooded.part.skipped == 150_000
    assert outcomes["prints"].part is not None
    assert "took longer than 1 s" in outcomes["leaves"].error
    assert outcomes["host"].part is not None
    assert all(outcome.stuck is None for outcome in outcomes.values())


def test_the_worker_ends_soon_after_an_exporter_that_was_killed(real_host: Context) -> None:
    order = Order(["hang", "hang"], real_host.roots, []).to_wire().hex()
    hostile = HOSTILE.replace("1.0 if function in (hang, spin, leaves) else 120.0", "300.0")
    starter = (
        "import subprocess, sys\n"
        f"worker = subprocess.Popen([sys.executable, '-c', {hostile!r}], stdin=subprocess.PIPE)\n"
        f"worker.stdin.write(bytes.fromhex('{order}')); worker.stdin.close()\n"
        "print(worker.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    exporter = subprocess.Popen(
        [sys.executable, "-c", starter], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert exporter.stdout
    worker = Path(f"/proc/{int(exporter.stdout.readline())}")
    children = worker / f"task/{worker.name}/children"
    wait_until(lambda: children.read_text().split(), "a child of the worker")
    (child,) = children.read_text().split()
    exporter.kill()
    exporter.communicate()
    for path in (worker, Path(f"/proc/{child}")):
        wait_until(lambda path=path: has_ended(path), "the child to end")


def has_ended(process: Path) -> bool:
    try:
        return " Z " in (process / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):  # it may vanish between being opened and being read
        return True


REFUSING = """
import os, resource
from exporter.inventory import worker

def refuse(*arguments):
    raise PermissionError(1, "Operation not permitted")

os.nice = resource.setrlimit = refuse
worker.main()
"""


def test_a_sandbox_that_refuses_limits_refuses_no_inventory(real_host: Context) -> None:
    order = Order(["host"], real_host.roots, [])
    done = subprocess.run(
        [sys.executable, "-c", REFUSING], input=order.to_wire(), capture_output=True, check=True
    )
    (outcome,) = parse_answer(done.stdout, done.stderr.decode(), ["host"])
    assert outcome.part is not None


def test_a_folder_too_full_to_be_listed_is_counted_and_costs_nothing_else(
    host: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    files: dict[str, str | bytes] = {f"/var/www/full/{number}": "" for number in range(30)}
    files["/var/www/blog/wp-includes/version.php"] = "$wp_version = '6.0';"
    context = host(files)
    monkeypatch.setattr(tree_module, "MAXIMUM_ENTRIES", 20)
    findings = look("web", Order(["web"], context.roots, []))
    assert [item["path"] for _, item in findings.items] == ["/var/www/blog"]
    assert findings.skipped == 1
