"""The fault-injecting proxy does exactly the wrong it is told to."""

import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.fault_proxy import Fault, FaultProxy
from lab.patience import patient
from lab.processes import Server, free_port
from lab.sample_site import WELCOME, make_site
from lab.stack import PYTHON


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("site")
    make_site(folder)
    port = free_port()
    server = Server("site", [PYTHON, "-m", "lab.sample_site", str(port), str(folder)], folder / "log", port)
    yield server.start()
    server.stop()


@pytest.fixture
def proxy(site: Server) -> Iterator[FaultProxy]:
    with FaultProxy("127.0.0.1", site.port) as proxy:
        yield proxy


def get(proxy: FaultProxy) -> str:
    with urllib.request.urlopen(proxy.url + "/index.html", timeout=patient(60)) as answer:
        return str(answer.read().decode())


def test_without_a_fault_everything_passes(proxy: FaultProxy) -> None:
    assert WELCOME in get(proxy)
    assert proxy.seen == [("GET", "/index.html", 200)]


def test_a_fault_occurs_as_often_and_as_late_as_configured(proxy: FaultProxy) -> None:
    proxy.faults.append(Fault("status", "GET", "index", times=1, after=1, status=429))
    assert WELCOME in get(proxy)
    with pytest.raises(urllib.error.HTTPError, match="429"):
        get(proxy)
    assert WELCOME in get(proxy)


def test_a_truncated_answer_is_shorter_than_announced(proxy: FaultProxy) -> None:
    proxy.faults.append(Fault("cut answer"))
    with pytest.raises(http.client.IncompleteRead):
        get(proxy)


def test_a_truncated_answer_looks_whole(proxy: FaultProxy) -> None:
    whole = get(proxy)
    proxy.faults.append(Fault("truncate"))
    assert get(proxy) == whole[: len(whole) // 2]


def test_a_corrupt_answer_differs_in_one_byte(proxy: FaultProxy) -> None:
    whole = get(proxy)
    proxy.faults.append(Fault("corrupt"))
    assert sum(one != two for one, two in zip(get(proxy), whole, strict=True)) == 1


@pytest.mark.parametrize("action", ["reset", "cut request"])
def test_a_broken_connection_gives_no_answer(proxy: FaultProxy, action: str) -> None:
    proxy.faults.append(Fault(action))  # type: ignore[arg-type]
    with pytest.raises((OSError, http.client.HTTPException)):
        get(proxy)
    assert proxy.seen == [("GET", "/index.html", 0)]


def test_a_file_of_the_site_is_the_same_on_every_run(tmp_path: Path) -> None:
    for name in ("one", "two"):
        make_site(tmp_path / name)
    picture = "www/uploads/bild-0.jpg"
    assert (tmp_path / "one" / picture).read_bytes() == (tmp_path / "two" / picture).read_bytes()
