"""Fetch the inventories of all hosts, several at a time, and only what has changed."""

import base64
import http.client
import ssl
import time
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from fleet_inventory.database import Database, HostState
from fleet_inventory.document import DocumentError, InventoryDocument, parse
from leitstand.errors import LeitstandError

TIMEOUT_SECONDS = 15.0
AT_ONCE = 8
MAXIMUM_BYTES = 64 * 1024 * 1024


class PullError(LeitstandError):
    """A host could not be asked."""


@dataclass(frozen=True)
class Access:
    """How to speak to the exporters: TLS if there is a context, basic authentication if there is a user."""

    tls: ssl.SSLContext | None = None
    user: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return f"Access(tls={self.tls is not None}, user={self.user!r})"

    def headers(self, etag: str) -> dict[str, str]:
        """Headers of a request; ``etag`` as the host gave it."""
        headers = {"Accept-Encoding": "gzip", "Accept": "application/json"}
        if etag:
            headers["If-None-Match"] = etag
        if self.user:
            pair = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
            headers["Authorization"] = f"Basic {pair}"
        return headers


@dataclass(frozen=True)
class Answer:
    """A host's answer: a document with its ETag, or nothing new, or what went wrong."""

    host: str
    etag: str = ""
    document: InventoryDocument | None = None
    error: str = ""


@dataclass(frozen=True)
class Pulled:
    """How the pull of one host went; ``changes`` is None when nothing was new."""

    host: str
    changes: int | None = None
    error: str = ""


def fetch(address: str, port: int, access: Access, etag: str) -> tuple[str, bytes | None]:
    """(ETag, document) of an exporter; no document when it is still ``etag``. Raises PullError."""
    connection: http.client.HTTPConnection
    if access.tls:
        connection = http.client.HTTPSConnection(address, port, timeout=TIMEOUT_SECONDS, context=access.tls)
    else:
        connection = http.client.HTTPConnection(address, port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/inventory", headers=access.headers(etag))
        response = connection.getresponse()
        if response.status == http.HTTPStatus.NOT_MODIFIED:
            return etag, None
        if response.status != http.HTTPStatus.OK:
            hint = (
                "give --user and --password-file" if response.status == http.HTTPStatus.UNAUTHORIZED else ""
            )
            raise PullError(f"answered {response.status} {response.reason}", hint)
        body = response.read(MAXIMUM_BYTES + 1)
        return response.getheader("ETag", ""), unpacked(body, response.getheader("Content-Encoding", ""))
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise PullError(reason or str(error) or type(error).__name__) from error
    finally:
        connection.close()


def unpacked(body: bytes, encoding: str) -> bytes:
    """The body without its compression. Raises PullError for what is too large or damaged."""
    if encoding == "gzip":
        try:
            # The limit holds for what comes out: a few kilobytes can unpack to gigabytes.
            body = zlib.decompressobj(wbits=31).decompress(body, MAXIMUM_BYTES + 1)
        except zlib.error as error:
            raise PullError(f"a damaged answer: {error}") from error
    if len(body) > MAXIMUM_BYTES:
        raise PullError(f"the answer has more than {MAXIMUM_BYTES >> 20} MiB")
    return body


def ask(host: str, target: tuple[str, int], access: Access, state: HostState) -> Answer:
    """One host's answer, errors included."""
    try:
        etag, body = fetch(*target, access, state.etag if state.pulled else "")
        return Answer(host, etag, parse(body) if body is not None else None)
    except (PullError, DocumentError) as error:
        return Answer(host, error=error.message)


def pull(database: Database, hosts: Mapping[str, tuple[str, int]], access: Access) -> list[Pulled]:
    """Ask every host (name -> address, port) and take over what is new, in the order of the hosts."""
    states = database.states()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = pool.map(
            lambda host: ask(host, hosts[host], access, states.get(host, HostState(host))), hosts
        )
        return [take(database, answer, time.time()) for answer in answers]


def take(database: Database, answer: Answer, moment: float) -> Pulled:
    """Write one answer down."""
    if answer.error or answer.document is None:
        database.note(answer.host, moment, answer.error)
        return Pulled(answer.host, error=answer.error)
    return Pulled(answer.host, database.take(answer.host, answer.etag, answer.document, moment))
