import gzip
import hashlib
import json
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from exporter.exposition import Family, Piece, text_page
from exporter.inventory import SOURCES, inventory
from exporter.inventory.inventory import InventoryService
from exporter.inventory.kinds import KINDS
from exporter.inventory.order import Order
from exporter.inventory.part import render_part
from exporter.inventory.readers import READERS
from exporter.inventory.runner import Outcome
from exporter.inventory.source import Context, Findings
from exporter.inventory.watch import MAXIMUM_WATCHED
from lab.processes import wait_until
from leitstand.errors import LeitstandError

Build = Callable[[dict[str, str | bytes]], Context]


class Scripted:
    """A runner whose answers the test gives: source -> findings, or the text of an error."""

    def __init__(self) -> None:
        self.answers: dict[str, Findings | str] = {}
        self.asked: list[list[str]] = []

    def run(self, order: Order) -> list[Outcome]:
        self.asked.append(list(order.sources))
        return [self._outcome(name, order) for name in order.sources]

    def _outcome(self, name: str, order: Order) -> Outcome:
        answer = self.answers.get(name, Findings())
        if isinstance(answer, str):
            return Outcome(name, 0.5, error=answer)
        return Outcome(name, 0.25, render_part(answer, order.watch))


def packages(*names: str, manager: str = "dpkg", version: str = "1.0") -> Findings:
    findings = Findings()
    for name in names:
        findings.add(
            "package",
            manager=manager,
            name=name,
            version=version,
            arch="all",
            source="",
            manual=True,
            installed=None,
            path="",
        )
    return findings


class Faulty(Scripted):
    """A runner with a fault of its own, until it is mended."""

    broken = True

    def run(self, order: Order) -> list[Outcome]:
        if self.broken:
            raise OverflowError("cannot convert float infinity to integer")
        return super().run(order)


def samples(page: Sequence[Piece] | bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = page if isinstance(page, bytes) else text_page(page)
    families = text_string_to_metric_families(text.decode())
    return {
        (sample.name, tuple(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def again(service: InventoryService) -> None:
    """Look once more, as if every interval had passed."""
    service.hasten()
    service.refresh()


def test_the_real_host_is_read_in_a_separate_process(real_host: Context) -> None:
    service = InventoryService(real_host.roots)
    service.refresh()
    snapshot = service.snapshot()
    figures = samples(snapshot.metrics)
    failed = [
        name for name in SOURCES if not figures[("leitstand_inventory_source_success", (("source", name),))]
    ]
    assert failed == []
    document = json.loads(snapshot.document)
    assert document["sha256"] == snapshot.etag
    assert gzip.decompress(snapshot.document_gzip) == snapshot.document
    assert gzip.decompress(snapshot.series_gzip) == snapshot.series
    assert document["incomplete"] == []
    assert set(document["items"]) == set(KINDS)
    assert figures[("leitstand_packages", (("manager", "dpkg"),))] == len(
        [item for item in document["items"]["package"] if item["manager"] == "dpkg"]
    )


@pytest.mark.parametrize("page", ["metrics", "series"])
def test_the_pages_are_what_prometheus_wants(real_host: Context, page: str) -> None:
    service = InventoryService(real_host.roots)
    service.refresh()
    snapshot = service.snapshot()
    text = snapshot.series if page == "series" else text_page(snapshot.metrics)
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
    assert samples(text)


def test_an_unchanged_host_keeps_its_document_hash_and_time(host: Build) -> None:
    runner = Scripted()
    runner.answers["dpkg"] = packages("b", "a")
    service = InventoryService(host({}).roots, sources=["dpkg"], runner=runner)
    service.refresh()
    first = service.snapshot()
    runner.answers["dpkg"] = packages("a", "b", "a")
    again(service)
    assert service.snapshot().document is first.document
    assert service.snapshot().series is first.series
    assert service.snapshot().etag == first.etag
    moment = ("leitstand_inventory_changed_timestamp_seconds", ())
    assert samples(service.snapshot().metrics)[moment] == samples(first.metrics)[moment]


def test_a_new_version_changes_the_hash_and_the_time(host: Build) -> None:
    runner = Scripted()
    runner.answers["users"] = packages("a")
    service = InventoryService(host({}).roots, sources=["users"], runner=runner)
    service.refresh()
    first = service.snapshot()
    runner.answers["users"] = packages("a", version="1.1")
    again(service)
    second = service.snapshot()
    assert second.etag != first.etag
    moment = ("leitstand_inventory_changed_timestamp_seconds", ())
    assert samples(second.metrics)[moment] > samples(first.metrics)[moment]


def test_figures_that_change_by_themselves_are_no_part_of_the_hash(host: Build) -> None:
    runner = Scripted()
    service = InventoryService(host({}).roots, sources=["php_fpm"], runner=runner)
    tags = []
    for queue in (0, 7):
        findings = Findings()
        findings.metrics.append(
            Family("leitstand_php_fpm_listen_queue", "gauge", "Waiting.", (), [((), queue)])
        )
        runner.answers["php_fpm"] = findings
        again(service)
        tags.append(service.snapshot().etag)
        assert samples(service.snapshot().metrics)[("leitstand_php_fpm_listen_queue", ())] == queue
    assert tags[0] == tags[1]


def test_a_failing_source_keeps_its_last_findings_and_is_marked_as_failed(host: Build) -> None:
    runner = Scripted()
    runner.answers = {"users": packages("a"), "web": packages("b", manager="npm")}
    service = InventoryService(host({}).roots, sources=["users", "web"], runner=runner)
    service.refresh()
    before = service.snapshot()
    runner.answers["users"] = "it broke"
    again(service)
    figures = samples(service.snapshot().metrics)
    assert figures[("leitstand_inventory_source_success", (("source", "users"),))] == 0
    assert figures[("leitstand_inventory_source_success", (("source", "web"),))] == 1
    assert service.snapshot().document == before.document


def test_a_source_never_read_is_named_incomplete_rather_than_empty(host: Build) -> None:
    runner = Scripted()
    runner.answers = {"users": "it broke", "web": Findings()}
    service = InventoryService(host({}).roots, sources=["users", "web"], runner=runner)
    service.refresh()
    assert json.loads(service.snapshot().document)["incomplete"] == ["ssh_key", "user"]


def test_no_hash_is_published_before_every_source_had_its_turn(host: Build) -> None:
    runner = Scripted()
    service = InventoryService(host({}).roots, sources=["dpkg", "web"], runner=runner)
    seen: list[bool] = []
    original = runner.run

    def watch(order: Order) -> list[Outcome]:
        seen.append(b"leitstand_inventory_info" in text_page(service.snapshot().metrics))
        return original(order)

    runner.run = watch  # type: ignore[method-assign]
    service.refresh()
    assert seen == [False, False]
    assert service.snapshot().complete
    assert b"leitstand_inventory_info" in text_page(service.snapshot().metrics)


def test_a_source_whose_files_are_unchanged_is_not_run_again(host: Build) -> None:
    context = host({"/var/lib/dpkg/status": "x"})
    runner = Scripted()
    service = InventoryService(context.roots, sources=["dpkg"], runner=runner)
    for _ in range(3):
        again(service)
    assert len(runner.asked) == 1
    (context.roots.root / "var/lib/dpkg/status").write_text("xy")
    again(service)
    assert len(runner.asked) == 2


def test_a_file_that_comes_to_a_watched_folder_is_noticed(host: Build) -> None:
    pins = "/etc/apt/preferences.d/one"
    context = host({pins: "Package: *\n"})
    runner = Scripted()
    service = InventoryService(context.roots, sources=["apt"], runner=runner)
    again(service)
    again(service)
    assert len(runner.asked) == 1
    for name in (pins, "/etc/apt/preferences.d/two"):
        (context.roots.root / name.lstrip("/")).write_text("Package: a b\n")
        again(service)
    assert len(runner.asked) == 3


def test_a_source_that_failed_is_run_again_though_its_files_are_unchanged(host: Build) -> None:
    runner = Scripted()
    runner.answers["dpkg"] = "it broke"
    service = InventoryService(host({"/var/lib/dpkg/status": "x"}).roots, sources=["dpkg"], runner=runner)
    again(service)
    again(service)
    assert len(runner.asked) == 2


def test_the_time_of_the_last_change_outlives_a_restart(host: Build, tmp_path: Path) -> None:
    roots, state = host({}).roots, tmp_path / "state.json"
    moments = []
    for _ in range(2):
        service = InventoryService(roots, sources=["users"], runner=Scripted(), state=state)
        service.refresh()
        moments.append(
            samples(service.snapshot().metrics)[("leitstand_inventory_changed_timestamp_seconds", ())]
        )
    assert moments[0] == moments[1]


@pytest.mark.parametrize("content", [b"", b"[1]", b"\xff", b'{"sha256": 1, "changed": "x"}'])
def test_a_damaged_state_file_is_ignored(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "state").write_bytes(content)
    assert inventory.load_state(tmp_path / "state") == ("", 0.0)


def test_the_watch_list_is_capped_and_counts_what_was_cut(host: Build) -> None:
    runner = Scripted()
    runner.answers["users"] = packages(*(f"php{number}-cli" for number in range(MAXIMUM_WATCHED + 7)), "vim")
    service = InventoryService(host({}).roots, sources=["users"], runner=runner)
    service.refresh()
    figures = samples(service.snapshot().metrics)
    watched = [labels for name, labels in figures if name == "leitstand_watched_package_info"]
    assert len(watched) == MAXIMUM_WATCHED
    assert figures[("leitstand_watched_packages_cut", ())] == 7
    assert not any(("name", "vim") in labels for labels in watched)


def test_a_snapshot_is_there_at_once_and_the_service_ends(real_host: Context) -> None:
    service = InventoryService(real_host.roots, sources=["host"])
    assert service.snapshot().document == b""
    service.start()
    wait_until(lambda: service.snapshot().complete, "the first inventory")
    service.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "inventory"]


def test_every_source_of_the_registry_has_a_reader_and_names_kinds_that_exist() -> None:
    assert list(READERS) == list(SOURCES)
    for name, entry in SOURCES.items():
        assert set(entry.kinds) <= set(KINDS), name
    assert {kind for entry in SOURCES.values() for kind in entry.kinds} == set(KINDS)


def test_labels_of_every_kind_are_fields_of_it() -> None:
    for name, kind in KINDS.items():
        assert set(kind.labels) <= set(kind.fields), name


def test_a_source_stuck_in_the_kernel_is_left_alone_until_it_is_free(host: Build) -> None:
    hanging = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    runner = Scripted()
    original = runner.run
    runner.run = lambda order: [  # type: ignore[method-assign]
        Outcome(outcome.source, 1.0, error="hung", stuck=hanging.pid) for outcome in original(order)
    ]
    service = InventoryService(host({}).roots, sources=["users"], runner=runner)
    for _ in range(3):
        again(service)
    assert len(runner.asked) == 1
    hanging.communicate(b"")
    again(service)
    assert len(runner.asked) == 2


def test_a_worker_that_cannot_start_is_reported_once_for_all_its_sources(
    host: Build, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def run(self, order: Order) -> list[Outcome]:
            raise LeitstandError("python: no such program")

    service = InventoryService(host({}).roots, sources=["host", "users", "reboot"], runner=Broken())
    service.refresh()
    figures = samples(service.snapshot().metrics)
    for name in ("host", "users", "reboot"):
        assert figures[("leitstand_inventory_source_success", (("source", name),))] == 0
    assert len([record for record in caplog.records if "no such program" in record.getMessage()]) == 2


def test_the_hash_is_that_of_the_content(host: Build) -> None:
    service = InventoryService(host({}).roots, sources=["users"], runner=Scripted())
    service.refresh()
    text = service.snapshot().document.decode()
    items = text.partition('"items":')[2].removesuffix("}\n")
    assert hashlib.sha256(f"1\n\n{items}".encode()).hexdigest() == service.snapshot().etag


def test_a_fault_of_the_exporter_is_a_failed_source_and_does_not_end_the_looking(host: Build) -> None:
    runner = Faulty()
    service = InventoryService(host({}).roots, interval=0.01, sources=["dpkg"], runner=runner)

    def success() -> float | None:
        page = samples(service.snapshot().metrics)
        return page.get(("leitstand_inventory_source_success", (("source", "dpkg"),)))

    service.start()
    try:
        wait_until(lambda: success() == 0, "the source to have failed")
        runner.broken = False
        wait_until(lambda: success() == 1, "the source to be looked at again")
    finally:
        service.close()
