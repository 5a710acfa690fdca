"""Check passwords against bcrypt hashes so that guessing does not starve other clients.

bcrypt is slow on purpose (60 ms at cost 10, doubled by each further step), so its verdicts are cached, and
only unknown passwords wait. A request cannot choose its cost: an unknown user's password is checked at cost
10. Each cost has its own queue and thread, as bcrypt lets other threads run: a user of cost 18 delays no
other. In a queue the newest attempt of each client comes first, and clients take turns. If the queue is full,
a new attempt replaces the oldest one of the client with the most: so 200 guesses delay an honest scrape by
one or two of them.
"""

import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_log = logging.getLogger(__name__)
_MOST_VERDICTS = 50  # of each kind, so that wrong guesses never evict the right password
_BCRYPT_READS = 72  # bytes; bcrypt ignores the rest
# The hash of a discarded random text. An unknown user's password is compared with it, so that response times
# do not reveal which users exist, as long as their hashes have the usual cost.
_NOBODYS_HASH = b"$2b$10$XvBZ6nGwi8yvzGukgE6eMe3bsznxRXprE5kU1aY2SpaQ56tGHIzZ2"

# True or False; None if it was dropped to make room.
Verdict = bool | None


def cost_of(stored: bytes) -> int:
    """The cost of a bcrypt hash: a check takes 2 ** cost rounds."""
    return int(stored.split(b"$")[2])


@dataclass(frozen=True)
class Attempt:
    """A user's hash and the password to be compared; ``known`` is false for a user who does not exist."""

    hash: bytes
    password: bytes
    known: bool
    digest: bytes

    def __repr__(self) -> str:
        return f"Attempt(known={self.known})"


Told = Callable[[Verdict], None]


class Passwords:
    """Verdicts on passwords, and the threads that find new ones. ``waiting`` caps each cost's attempts."""

    def __init__(self, waiting: int) -> None:
        self._most_waiting = waiting
        self._secret = os.urandom(32)
        self._lock = threading.Lock()
        self._verdicts: dict[bool, OrderedDict[bytes, None]] = {True: OrderedDict(), False: OrderedDict()}
        self._queues: dict[int, _Queue] = {}
        self._closed = False

    def attempt(self, users: Mapping[str, bytes], user: str, password: bytes) -> Attempt:
        """The comparison to make for this user and password."""
        stored = users.get(user, _NOBODYS_HASH)
        import hashlib  # loads OpenSSL, which an exporter without users does not need

        digest = hashlib.blake2b(key=self._secret)
        for part in (user.encode("utf-8", "replace"), stored, password):
            digest.update(len(part).to_bytes(8, "big") + part)
        return Attempt(stored, password, user in users, digest.digest())

    def known_verdict(self, attempt: Attempt) -> Verdict:
        """The cached verdict; None if there is none."""
        with self._lock:
            for verdict, digests in self._verdicts.items():
                if attempt.digest in digests:
                    digests.move_to_end(attempt.digest)
                    return verdict
        return None

    def check(self, client: str, attempt: Attempt, tell: Told) -> None:
        """Check, and call ``tell`` with the verdict from another thread."""
        cost = cost_of(attempt.hash)
        with self._lock:
            if cost not in self._queues:
                self._queues[cost] = _Queue(self._most_waiting, self._find_out, self._closed)
            queue = self._queues[cost]
        queue.add(client, attempt, tell)

    def close(self) -> None:
        """End the threads; waiting attempts get no verdict."""
        with self._lock:
            self._closed = True
            queues = list(self._queues.values())
        for queue in queues:
            queue.close()

    def _find_out(self, attempt: Attempt) -> bool:
        if (verdict := self.known_verdict(attempt)) is not None:
            return verdict
        import bcrypt

        # Always compare, even for a user who does not exist: see _NOBODYS_HASH.
        equal = bcrypt.checkpw(attempt.password[:_BCRYPT_READS], attempt.hash)
        verdict = equal and attempt.known
        with self._lock:
            digests = self._verdicts[verdict]
            digests[attempt.digest] = None
            if len(digests) > _MOST_VERDICTS:
                digests.popitem(last=False)
        return verdict


class _Queue:
    """The waiting attempts of one cost, and the thread that checks them one by one."""

    def __init__(self, most: int, find_out: Callable[[Attempt], bool], closed: bool) -> None:
        self._most, self._find_out, self._closed = most, find_out, closed
        self._changed = threading.Condition()
        self._waiting: OrderedDict[str, list[tuple[Attempt, Told]]] = OrderedDict()
        self._thread: threading.Thread | None = None

    def add(self, client: str, attempt: Attempt, tell: Told) -> None:
        with self._changed:
            given_up = self._make_room()
            self._waiting.setdefault(client, []).append((attempt, tell))
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._work, name="passwords", daemon=True)
                self._thread.start()
            self._changed.notify()
        if given_up:
            given_up(None)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _make_room(self) -> Told | None:
        if sum(map(len, self._waiting.values())) < self._most:
            return None
        longest = max(self._waiting, key=lambda client: len(self._waiting[client]))
        _, tell = self._waiting[longest].pop(0)
        return tell

    def _next(self) -> tuple[Attempt, Told] | None:
        """The newest attempt of the client whose turn it is; None if closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or any(self._waiting.values()))
            while not self._closed:
                client, attempts = self._waiting.popitem(last=False)
                if not attempts:
                    continue
                taken = attempts.pop()
                if attempts:
                    self._waiting[client] = attempts
                return taken
        return None

    def _work(self) -> None:
        while taken := self._next():
            attempt, tell = taken
            began = time.monotonic()
            try:
                verdict = self._find_out(attempt)
                if not verdict:
                    self._rest(time.monotonic() - began)
                tell(verdict)
            except Exception:  # noqa: BLE001 - without this thread no one could log in any more
                if not self._closed:
                    _log.exception("a password could not be checked")

    def _rest(self, seconds: float) -> None:
        """Sleep as long as a wrong guess took: guessing uses half a CPU, not a whole one."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed, seconds)
