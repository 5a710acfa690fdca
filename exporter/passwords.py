"""Check passwords against bcrypt hashes, one at a time, without starving anybody because somebody guesses.

bcrypt is slow on purpose (60 ms at cost 10), so its verdicts are kept, and only what is not known yet waits.
The newest attempt of each client comes first, clients take turns, and an attempt too many replaces the oldest
one of the client that has most waiting: so 200 guesses delay an honest scrape by one or two of them.
"""

import hashlib
import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import bcrypt

_log = logging.getLogger(__name__)
_MOST_VERDICTS = 50  # of each kind, so that wrong guesses never push out the right password
_BCRYPT_READS = 72  # bytes; the algorithm ignores what is behind them
# The hash of a random text that nobody kept. An unknown user's password is compared with it, so that the time
# an answer takes does not tell which users exist.
_NOBODYS_SALT_AND_SUM = b"XvBZ6nGwi8yvzGukgE6eMe3bsznxRXprE5kU1aY2SpaQ56tGHIzZ2"

# True and False; None when it was given up to make room.
Verdict = bool | None


@dataclass(frozen=True)
class Attempt:
    """A user's hash and the password to be compared; ``known`` is false for a user who does not exist."""

    hash: bytes
    password: bytes
    known: bool
    digest: bytes

    def __repr__(self) -> str:
        return f"Attempt(known={self.known})"


class Passwords:
    """Verdicts on passwords, and the one thread that finds new ones. ``waiting`` is the cap of attempts."""

    def __init__(self, waiting: int) -> None:
        self._most_waiting = waiting
        self._secret = os.urandom(32)
        self._changed = threading.Condition()
        self._verdicts: dict[bool, OrderedDict[bytes, None]] = {True: OrderedDict(), False: OrderedDict()}
        self._queues: OrderedDict[str, list[tuple[Attempt, Callable[[Verdict], None]]]] = OrderedDict()
        self._thread: threading.Thread | None = None
        self._closed = False

    def attempt(self, users: Mapping[str, bytes], user: str, password: bytes) -> Attempt:
        """What is to be compared for this user and password."""
        known = user in users
        stored = users[user] if known else _nobodys_hash(users)
        digest = hashlib.blake2b(key=self._secret)
        for part in (user.encode("utf-8", "replace"), stored, password):
            digest.update(len(part).to_bytes(8, "big") + part)
        return Attempt(stored, password, known, digest.digest())

    def known_verdict(self, attempt: Attempt) -> Verdict:
        """The verdict found before; None when there is none."""
        with self._changed:
            for verdict, digests in self._verdicts.items():
                if attempt.digest in digests:
                    digests.move_to_end(attempt.digest)
                    return verdict
        return None

    def check(self, client: str, attempt: Attempt, tell: Callable[[Verdict], None]) -> None:
        """Find out, and call ``tell`` with the verdict from another thread."""
        with self._changed:
            given_up = self._make_room()
            self._queues.setdefault(client, []).append((attempt, tell))
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._work, name="passwords", daemon=True)
                self._thread.start()
            self._changed.notify()
        if given_up:
            given_up(None)

    def close(self) -> None:
        """End the thread; who still waits gets no verdict."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _make_room(self) -> Callable[[Verdict], None] | None:
        if sum(map(len, self._queues.values())) < self._most_waiting:
            return None
        longest = max(self._queues, key=lambda client: len(self._queues[client]))
        _, tell = self._queues[longest].pop(0)
        return tell

    def _next(self) -> tuple[Attempt, Callable[[Verdict], None]] | None:
        """The newest attempt of the client whose turn it is; None when closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or any(self._queues.values()))
            while not self._closed:
                client, queue = self._queues.popitem(last=False)
                if not queue:
                    continue
                taken = queue.pop()
                if queue:
                    self._queues[client] = queue
                return taken
        return None

    def _work(self) -> None:
        while taken := self._next():
            attempt, tell = taken
            verdict = self.known_verdict(attempt)
            try:
                tell(self._find_out(attempt) if verdict is None else verdict)
            except Exception:  # noqa: BLE001 - without this thread nobody could enter any more
                if not self._closed:
                    _log.exception("a password could not be checked")

    def _find_out(self, attempt: Attempt) -> bool:
        began = time.monotonic()
        # Always compare, also for a user who does not exist: see _NOBODYS_SALT_AND_SUM.
        equal = bcrypt.checkpw(attempt.password[:_BCRYPT_READS], attempt.hash)
        verdict = equal and attempt.known
        with self._changed:
            digests = self._verdicts[verdict]
            digests[attempt.digest] = None
            if len(digests) > _MOST_VERDICTS:
                digests.popitem(last=False)
            if not verdict and not self._closed:
                # Rest as long as a wrong guess took: whoever guesses gets half a processor, not a whole one.
                self._changed.wait_for(lambda: self._closed, time.monotonic() - began)
        return verdict


def _nobodys_hash(users: Mapping[str, bytes]) -> bytes:
    """Nobody's hash at the cost of the users' hashes, which is what makes a comparison slow or quick."""
    cost = max((stored.split(b"$")[2] for stored in users.values()), default=b"10")
    return b"$2b$%s$%s" % (cost, _NOBODYS_SALT_AND_SUM)
