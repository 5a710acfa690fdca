"""The web configuration file: read, check, and reload after each change.

At the start a broken file is an error. Later the last good version stays in use, also if a new one would
open what is closed: a file that is just being written looks like one without users.
"""

import logging
import ssl
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from exporter.web.access import RateLimiter, Rules, RulesState, canonical_name
from exporter.web.passwords import cost_of
from exporter.web.settings import WebSettings, read_settings
from exporter.web.tls import TlsError, files_of, server_context
from leitstand.errors import LeitstandError, UsageError
from leitstand.settings.document import Document, load_document
from leitstand.settings.problems import ConfigError, Problem

_log = logging.getLogger(__name__)
# Two changes within one tick of the file system's clock have equal times: so a fresh file's content counts.
_FRESH_NANOSECONDS = 1_000_000_000
_DEAREST = 14  # bcrypt cost; each further step doubles the time
_SECONDS_AT_10 = 0.06
_NOTHING = (b"", b"{}", b"---", b"...")

_Signature = tuple[tuple[int | bytes, ...], ...]


def load_web_config(path: Path) -> tuple[Rules, list[Path]]:
    """The rules of a web configuration file, and every file they were read from.

    Raises ConfigError with every problem, each with its key; never with a secret.
    """
    document = _read_document(path)
    settings, findings = read_settings(document.data)
    problems = [*document.problems, *(document.problem(*finding) for finding in findings)]
    if problems:
        raise ConfigError(problems)
    tls, folder = settings.tls_server_config, path.absolute().parent
    try:
        context = server_context(tls, folder) if tls.is_on else None
    except TlsError as error:
        raise ConfigError([document.problem(("tls_server_config", error.key), error.what)]) from error
    return _rules(settings, context), [path, *files_of(tls, folder)]


def _read_document(path: Path) -> Document:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}", "see --web.config.file") from error
    # An empty file sets nothing; leitstand.yml's reader would report an error.
    if all(line.strip() in _NOTHING or line.lstrip().startswith(b"#") for line in lines):
        return Document(path)
    return load_document(path)


def _rules(settings: WebSettings, context: ssl.SSLContext | None) -> Rules:
    limit, tls = settings.rate_limit, settings.tls_server_config
    return Rules(
        context=context,
        allowed_names=frozenset(map(canonical_name, tls.client_allowed_sans)),
        users=settings.basic_auth_users,
        headers=tuple((name, value) for name, value in settings.http_server_config.headers.items() if value),
        limiter=RateLimiter(limit.interval, limit.burst) if limit.interval else None,
    )


class WebConfigFile:
    """The rules of the last good version of one web configuration file.

    Raises ConfigError if the file cannot be used at the start.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._rules, self._watched = load_web_config(path)
        _warn_of_costs(path, self._rules.users)
        # Unknown: the file may have changed while it was read, so the first request reads it again.
        self._signature: _Signature = ()
        self._complaint = ""
        self._loaded = time.time()

    def current(self) -> Rules:
        """The rules in use. Checks the files' times, and reads them if one has changed."""
        # While another thread reads, the previous rules are good enough.
        if self._lock.acquire(blocking=False):
            try:
                self._refresh()
            finally:
                self._lock.release()
        return self._rules

    def state(self) -> RulesState:
        """Whether the files on disk are in use, and when those in use were read (Unix time)."""
        return RulesState(valid=not self._complaint, loaded=self._loaded)

    def _refresh(self) -> None:
        signature = _signature(self._watched)
        if signature == self._signature:
            return
        self._signature = signature
        try:
            rules, watched = load_web_config(self._path)
            _refuse_opening(self._path, self._rules, rules)
        except LeitstandError as error:
            self._complain(error.message)
            return
        if rules.users != self._rules.users:
            _warn_of_costs(self._path, rules.users)
        if watched != self._watched:
            self._watched, self._signature = watched, ()
        self._rules, self._complaint, self._loaded = rules.continuing(self._rules), "", time.time()

    def _complain(self, message: str) -> None:
        if message != self._complaint:
            _log.error("the web configuration is refused, the previous one stays in use: %s", message)
        self._complaint = message


def _warn_of_costs(path: Path, users: Mapping[str, bytes]) -> None:
    for user, stored in users.items():
        if (cost := cost_of(stored)) > _DEAREST:
            seconds = _SECONDS_AT_10 * 2 ** (cost - 10)
            what = f"bcrypt cost {cost}: checking one password takes about {seconds:.0f} s of CPU time"
            _log.warning(
                "%s", Problem(path, 0, f"basic_auth_users.{user}", what, "create a hash with cost 10")
            )


def _signature(paths: list[Path]) -> _Signature:
    """Changes when a file's content does: its times and size and, while it is fresh, its content."""
    fresh = time.time_ns() - _FRESH_NANOSECONDS
    return tuple(_file_signature(path, fresh) for path in paths)


def _file_signature(path: Path, fresh: int) -> tuple[int | bytes, ...]:
    try:
        status = path.stat()
        times = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        return (*times, path.read_bytes()) if status.st_ctime_ns > fresh else times
    except OSError:
        return ()


def _refuse_opening(path: Path, before: Rules, after: Rules) -> None:
    """Raise ConfigError if the change would let in clients that are kept out now."""
    opened = next((key for key, closed in _doors(before, after) if closed), None)
    if opened:
        raise ConfigError(
            [Problem(path, 1, opened, "would open what is closed", "restart the exporter to do that")]
        )


def _doors(before: Rules, after: Rules) -> list[tuple[str, bool]]:
    """Each key that keeps clients out, and whether the change would remove that protection."""
    asked, asks = (rules.context.verify_mode if rules.context else ssl.CERT_NONE for rules in (before, after))
    return [
        ("tls_server_config", before.context is not None and after.context is None),
        ("tls_server_config.client_auth_type", asks < asked),
        ("tls_server_config.client_allowed_sans", bool(before.allowed_names) and not after.allowed_names),
        ("basic_auth_users", bool(before.users) and not after.users),
    ]
