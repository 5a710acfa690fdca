"""One page from many collectors, whatever each of them does."""

import threading
import time

import pytest

from exporter.collectors.collector import gauge
from exporter.exposition import Family, Renderer, text_page
from exporter.roots import NoData
from exporter.scrape import Scraper as ScraperOfPieces
from exporter.web.app import server_names
from lab.patience import patient
from lab.processes import wait_until


class Scraper(ScraperOfPieces):
    """One that writes what it gives as text."""

    def render(self, *arguments):
        return text_page(self.scrape(*arguments))


class Giving:
    """A collector that gives these families."""

    def __init__(self, *families: Family) -> None:
        self.families = families

    def collect(self):
        return self.families


class Raising:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def collect(self):
        raise self.error


class Half:
    """Raises when half of it is given already."""

    def collect(self):
        yield gauge("node_half", "Half.", 1)
        raise OSError("the file went away")


class Waiting:
    def __init__(self) -> None:
        self.done = threading.Event()
        self.calls = 0

    def collect(self):
        self.calls += 1
        self.done.wait()
        return [gauge("node_late", "Late.", 1)]


LOAD = gauge("node_load1", "Load.", 0.5)
INVENTORY = Renderer().pieces([gauge("leitstand_packages", "Packages.", 1)])


def verdicts(page):
    return {
        labels[0][1]: value
        for (name, labels), value in page.items()
        if name.endswith("scrape_collector_success")
    }


def test_a_page_holds_the_families_and_a_verdict_and_a_time_for_each_collector(page_of):
    page = page_of(Scraper({"load": Giving(LOAD)}).render().decode())
    assert page["node_load1", ()] == 0.5
    assert page["node_scrape_collector_success", (("collector", "load"),)] == 1
    assert page["node_scrape_collector_duration_seconds", (("collector", "load"),)] >= 0


@pytest.mark.parametrize("bad", [Raising(ValueError("x")), Half(), Giving(LOAD, LOAD)])
def test_a_collector_that_fails_loses_its_part_and_no_other(page_of, bad):
    page = page_of(Scraper({"bad": bad, "load": Giving(LOAD)}).render().decode())
    assert verdicts(page) == {"bad": 0, "load": 1}
    assert page["node_load1", ()] == 0.5
    assert ("node_half", ()) not in page


def test_a_host_without_the_item_is_not_a_failure(page_of):
    page = page_of(Scraper({"raid": Raising(NoData("no array"))}).render().decode())
    assert verdicts(page) == {"raid": 1}


def test_a_metric_of_two_collectors_is_on_the_page_once(page_of):
    scraper = Scraper({"load": Giving(LOAD), "textfile": Giving(gauge("node_load1", "Other.", 9))})
    text = scraper.render().decode()
    assert text.count("# TYPE node_load1 ") == 1
    assert page_of(text)["node_load1", ()] == 0.5
    assert verdicts(page_of(text)) == {"load": 1, "textfile": 0}


def test_a_textfile_that_names_a_metric_of_ours_costs_that_metric_and_no_other(page_of):
    taken = ("node_load1", "leitstand_packages", "leitstand_exporter_connections")
    own = "node_scrape_collector_success"
    files = Giving(*(gauge(name, "Other.", 9) for name in (*taken, own)), gauge("backup_age", "Age.", 3))
    inventory = Renderer().pieces([gauge("leitstand_packages", "Packages.", 7)])
    scraper = Scraper({"load": Giving(LOAD), "textfile": files}, lambda: inventory, reserved=server_names())
    text = scraper.render().decode()
    page = page_of(text)
    assert (page["node_load1", ()], page["leitstand_packages", ()], page["backup_age", ()]) == (0.5, 7, 3)
    assert [text.count(f"# HELP {name} ") for name in (*taken, own)] == [1, 1, 0, 1]
    assert verdicts(page) == {"load": 1, "textfile": 0}


def test_a_collector_that_hangs_costs_its_deadline_once_and_nothing_later(page_of):
    hanging = Waiting()
    scraper = Scraper({"hangs": hanging, "load": Giving(LOAD)}, patience=0.02)
    start = time.monotonic()
    page = page_of(scraper.render(1).decode())
    assert 0.9 < time.monotonic() - start < patient(30)
    assert verdicts(page) == {"hangs": 0, "load": 1}
    start = time.monotonic()
    for _ in range(20):
        assert verdicts(page_of(scraper.render(5).decode())) == {"hangs": 0, "load": 1}
    assert time.monotonic() - start < patient(60), "waited for at each scrape, it would have been 100 s"
    assert hanging.calls == 1
    hanging.done.set()


def test_only_the_collectors_asked_for_are_run(page_of):
    never = Waiting()
    scraper = Scraper({"never": never, "load": Giving(LOAD)}, lambda: INVENTORY)
    page = page_of(scraper.render(60, ["load"]).decode())
    assert verdicts(page) == {"load": 1}
    assert never.calls == 0
    assert ("leitstand_packages", ()) not in page


def test_the_inventory_is_at_the_end_of_a_whole_page(page_of):
    text = Scraper({"load": Giving(LOAD)}, lambda: INVENTORY).render().decode()
    assert text.endswith("leitstand_packages 1\n")


def test_without_node_metrics_no_name_starts_with_node(page_of):
    scraper = Scraper(
        {"textfile": Giving(LOAD, gauge("backup_age", "Age.", 3)), "bad": Raising(OSError())},
        node_metrics=False,
    )
    page = page_of(scraper.render().decode())
    assert not [name for name, _ in page if name.startswith("node_")]
    assert page["backup_age", ()] == 3
    assert page["leitstand_scrape_collector_success", (("collector", "bad"),)] == 0


def test_scrapes_at_the_same_time_share_one_run():
    slow = Waiting()
    scraper = Scraper({"slow": slow})
    pages = []
    threads = [threading.Thread(target=lambda: pages.append(scraper.render(60))) for _ in range(8)]
    for thread in threads:
        thread.start()
    wait_until(lambda: slow.calls and waiting(scraper) == 7, "one that runs and seven that wait for it")
    slow.done.set()
    for thread in threads:
        thread.join(60)
    assert pages == pages[:1] * 8
    assert b"node_late 1\n" in pages[0]
    assert slow.calls == 1


def waiting(scraper):
    """How many wait for a scrape that is under way."""
    return sum(len(flight.done._cond._waiters) for flight in list(scraper._flights.values()))


def test_a_scrape_with_a_short_timeout_does_not_share_its_page_with_a_longer_one(page_of):
    slow, pages = Waiting(), {}
    scraper = Scraper({"load": Giving(LOAD), "slow": slow}, patience=0.01)
    hurried, patient = (
        threading.Thread(target=lambda seconds=seconds: pages.update({seconds: scraper.render(seconds)}))
        for seconds in (1, 60)
    )
    hurried.start()
    wait_until(lambda: slow.calls, "the scrape with little time")
    patient.start()
    hurried.join(60)
    slow.done.set()
    patient.join(60)
    assert verdicts(page_of(pages[1].decode())) == {"load": 1, "slow": 0}
    assert pages[60] != pages[1]


def test_scrapes_of_different_collectors_take_turns():
    """A collector keeps what it knows from scrape to scrape, so it must never run twice at a time."""
    running, most = [], []

    class Counting:
        def collect(self):
            running.append(1)
            most.append(len(running))
            time.sleep(0.005)
            running.pop()
            return [LOAD]

    scraper = Scraper({"load": Counting()})
    threads = [
        threading.Thread(target=scraper.render, args=(60, names))
        for names in (None, ["load"], ["load", "x"]) * 3
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(most) >= 3
    assert max(most) == 1


def test_a_scrape_that_waited_in_vain_gets_a_page_that_shows_it(page_of):
    slow = Waiting()
    scraper = Scraper({"slow": slow}, patience=5)
    first = threading.Thread(target=scraper.render, args=(120,))
    first.start()
    wait_until(lambda: slow.calls, "the first scrape")
    for names in (None, ["slow", "other"]):
        assert verdicts(page_of(scraper.render(0.05, names).decode())) == {"slow": 0}
    slow.done.set()
    first.join(60)
    assert slow.calls == 1
    assert b"node_late 1\n" in scraper.render(60)


def test_a_failure_and_its_end_are_each_reported_once(caplog):
    collector = Raising(OSError("gone"))
    scraper = Scraper({"disk": collector})
    with caplog.at_level("INFO"):
        for _ in range(5):
            scraper.render()
        collector.collect = lambda: [LOAD]
        scraper.render()
        scraper.render()
    messages = [record.message for record in caplog.records]
    assert messages == ["collector disk failed: OSError: gone", "collector disk works again"]


def test_a_failure_with_different_ports_and_addresses_is_reported_once(caplog):
    collector = Raising(OSError())
    scraper = Scraper({"shop": collector})
    for port in range(5):
        collector.error = OSError(f"<Connection object at {port + 2**40:#x}>: port {port} is closed")
        scraper.render()
    assert len(caplog.records) == 1


def test_label_values_are_escaped(page_of):
    nasty = 'a"b\\c\nd'
    family = Family("node_disk_info", "gauge", "Disk.", ("model",), [((nasty,), 1)])
    page = page_of(Scraper({"disk": Giving(family)}).render().decode())
    assert page["node_disk_info", (("model", nasty),)] == 1
