"""Passwords are checked without a client choosing how much work that is."""

import base64
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from exporter.web.config import WebConfigFile
from exporter.web.passwords import Passwords, cost_of

# Of cost 18: a real check takes longer than a test may. Nobody has its password.
DEAR = "$2b$18$" + bcrypt.hashpw(b"dear", bcrypt.gensalt(4)).decode().rpartition("$")[2]


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Checks of cost 18 wait until it is opened; their number is in ``gate.entered``."""
    real, opened = bcrypt.checkpw, threading.Event()
    opened.entered = []  # type: ignore[attr-defined]

    def check(password: bytes, stored: bytes) -> bool:
        if cost_of(stored) < 18:
            return real(password, stored)
        opened.entered.append(password)  # type: ignore[attr-defined]
        opened.wait(120)
        return False

    monkeypatch.setattr(bcrypt, "checkpw", check)
    yield opened
    opened.set()


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


def test_guesses_at_a_dear_user_and_at_unknown_names_delay_no_cheap_one(
    serve: Callable[..., Any], gate: Any, eventually: Callable[..., Any]
) -> None:
    cheap = bcrypt.hashpw(b"correct horse", bcrypt.gensalt(10)).decode()
    running = serve(config=f"basic_auth_users: {{dear: {DEAR}, dave: {cheap}}}\n")
    threads = [
        threading.Thread(target=running.get, kwargs={"headers": basic(user, f"guess {number}")})
        for number, user in enumerate(("dear", "nobody", "dear", "nothing"))
    ]
    for thread in threads:
        thread.start()
    eventually(lambda: gate.entered)
    # The dear guess is being checked all the while: the answers come before it is done.
    assert running.get(headers=basic("nobody", "another guess")).status == 401
    assert running.get(headers=basic("dave", "correct horse")).status == 200
    assert running.get(headers=basic("dave", "wrong")).status == 401
    assert len(gate.entered) == 1 and not gate.is_set()
    gate.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


@pytest.mark.parametrize("costs", [(), (4,), (10, 12, 18), (18,)])
def test_a_password_of_an_unknown_user_is_always_checked_at_cost_10(costs: tuple[int, ...]) -> None:
    users = {f"user{cost}": b"$2b$%02d$" % cost + DEAR[7:].encode() for cost in costs}
    attempt = Passwords(16).attempt(users, "nobody", b"guess")
    assert (cost_of(attempt.hash), attempt.known) == (10, False)


def test_waiting_passwords_are_bounded_for_each_cost_separately(gate: Any) -> None:
    passwords = Passwords(2)
    users = {"dear": DEAR.encode(), "dave": bcrypt.hashpw(b"x", bcrypt.gensalt(4))}
    told: list[tuple[str, bool | None]] = []
    done = threading.Event()

    def ask(user: str, password: bytes, tell: Callable[[bool | None], None]) -> None:
        passwords.check("client", passwords.attempt(users, user, password), tell)

    for number in range(6):
        ask("dear", b"%d" % number, lambda verdict: told.append(("dear", verdict)))
    ask("dave", b"x", lambda verdict: (told.append(("dave", verdict)), done.set()))
    assert done.wait(60)
    assert ("dave", True) in told
    assert set(told) <= {("dear", None), ("dave", True)}
    assert len(told) >= 4  # one is being checked and two wait, at most
    passwords.close()


def test_a_hash_that_is_slow_to_check_is_warned_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "web.yml"
    fine = bcrypt.hashpw(b"x", bcrypt.gensalt(4)).decode()
    path.write_text(f"basic_auth_users:\n  dave: {fine}\n  dear: {DEAR}\n")
    config = WebConfigFile(path)
    config.current()
    config.current()
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: basic_auth_users.dear: bcrypt cost 18: checking one password takes about 15 s of CPU time; "
        "create a hash with cost 10"
    ]
