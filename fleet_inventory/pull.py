"""Fetch the inventories of all hosts, several at a time, and only what has changed."""

import http.client
import json
import re
import ssl
import time
import zlib
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from fleet_inventory.access import Access, AccessError, open_access
from fleet_inventory.database import Database, HostState
from fleet_inventory.document import DocumentError, InventoryDocument, Item, parse, printable
from leitstand.ask import Reply, get
from leitstand.errors import LeitstandError
from leitstand.settings.hosts import ExporterAccess

TIMEOUT_SECONDS = 15.0
ANSWER_SECONDS = 60.0  # for the whole answer: one that trickles in must not hold up the others
AT_ONCE = 8
# As sent, and without its compression; some wait in memory, one at a time is unpacked.
LARGEST_ANSWER = 4 * 1024 * 1024
MAXIMUM_BYTES = 16 * 1024 * 1024
MAXIMUM_MESSAGE = 300  # letters; parts of it are the host's own words
IN_FILE = "name under the host's exporter: in leitstand.yml"
MAYBE_TLS = f"does it want TLS? {IN_FILE} tls: true, or give --tls"
_ETAG = re.compile(r'(?:W/)?"[!#-~]{1,200}"')  # RFC 9110, 8.8.3, in ASCII


class PullError(LeitstandError):
    """A host could not be asked."""


@dataclass(frozen=True)
class Target:
    """Where an exporter listens, and how to reach it."""

    address: str
    port: int
    settings: ExporterAccess


@dataclass(frozen=True)
class Answer:
    """A host's answer, or what went wrong."""

    host: str
    reply: Reply | None = None
    error: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Pulled:
    """How the pull of one host went; ``changes`` is None when nothing was new.

    ``formerly`` is the name it had before, if it has another one since the last pull.
    """

    host: str
    changes: int | None = None
    error: str = ""
    hint: str = ""
    formerly: str = ""


def fetch(address: str, port: int, access: Access, etag: str) -> Reply:
    """An exporter's answer: a document, or that it is still ``etag``. Raises PullError."""
    limits = {"seconds": ANSWER_SECONDS, "silence": TIMEOUT_SECONDS}
    try:
        server, headers = access.server(address, port), access.headers(etag)
        reply = get(server, "/inventory", headers, largest=LARGEST_ANSWER, **limits)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise failure(error, access) from error
    if reply.status not in (http.HTTPStatus.OK, http.HTTPStatus.NOT_MODIFIED):
        raise refusal(reply, access)
    if len(reply.body) > LARGEST_ANSWER:
        raise PullError(f"the answer has more than {LARGEST_ANSWER >> 20} MiB")
    return reply


def refusal(reply: Reply, access: Access) -> PullError:
    """The meaning of an answer without a document."""
    hint = ""
    if reply.status == http.HTTPStatus.UNAUTHORIZED:
        hint = f"{IN_FILE} username and password_file, or give --user and --password-file"
    elif reply.status == http.HTTPStatus.BAD_REQUEST and not access.tls:
        hint = MAYBE_TLS
    return PullError(f"answered {reply.status} {reply.reason}".rstrip(), hint)


def failure(error: Exception, access: Access) -> PullError:
    """The message about a failed connection."""
    match error:
        case ssl.SSLCertVerificationError():
            return PullError(
                f"its certificate is not trusted: {error.verify_message}",
                f"{IN_FILE} ca_file, the certificates to trust, and server_name, or give --ca-file",
            )
        case (
            ssl.SSLEOFError() | http.client.RemoteDisconnected() | ConnectionResetError() | BrokenPipeError()
        ):
            return hung_up(access)
        case ssl.SSLError() if "CERTIFICATE_REQUIRED" in str(error.reason):
            return PullError("wants a certificate of ours", f"{IN_FILE} cert_file and key_file")
        case ssl.SSLError():
            return PullError(f"no TLS with it: {error.reason or error}", "does the exporter there serve TLS?")
        case TimeoutError():
            return PullError(f"no answer within {TIMEOUT_SECONDS:.0f} s")
        case http.client.IncompleteRead():
            return PullError("the answer breaks off")
        case http.client.BadStatusLine():
            return PullError("does not answer in HTTP", "does a leitstand exporter listen there?")
    reason = error.strerror if isinstance(error, OSError) else None
    return PullError(reason or str(error) or type(error).__name__)


def hung_up(access: Access) -> PullError:
    """What an exporter may want that closes the connection; its alert about a certificate may get lost."""
    maybe_certificate = f"does it want a certificate of ours? {IN_FILE} cert_file and key_file"
    return PullError(
        "closed the connection without an answer", maybe_certificate if access.tls else MAYBE_TLS
    )


def unpacked(body: bytes, encoding: str) -> bytes:
    """The body without its compression. Raises PullError for what is too large or damaged."""
    if encoding == "gzip":
        unpacker = zlib.decompressobj(wbits=31)
        try:
            # The limit holds for what comes out: a few kilobytes can unpack to gigabytes.
            body = unpacker.decompress(body, MAXIMUM_BYTES + 1)
        except zlib.error as error:
            raise PullError(f"a damaged answer: {error}") from error
        if not unpacker.eof and len(body) <= MAXIMUM_BYTES:
            raise PullError("the answer breaks off")
    if len(body) > MAXIMUM_BYTES:
        raise PullError(f"the answer has more than {MAXIMUM_BYTES >> 20} MiB")
    return body


def opened(settings: ExporterAccess) -> Access | AccessError:
    """The access to a host, or why there is none: that concerns this host alone."""
    try:
        return open_access(settings)
    except AccessError as error:
        return error


def ask(host: str, target: Target, access: Access | AccessError, state: HostState) -> Answer:
    """One host's answer, errors included. What it sent is not looked into here, where many are at work."""
    try:
        if isinstance(access, AccessError):
            raise access
        return Answer(host, fetch(target.address, target.port, access, state.etag if state.pulled else ""))
    except (AccessError, PullError) as error:
        return Answer(host, error=printable(error.message[:MAXIMUM_MESSAGE]), hint=error.hint)


def pull(database: Database, hosts: Mapping[str, Target], gone: Collection[str] = ()) -> list[Pulled]:
    """Ask every host and take over what is new, as the answers come; the results in the order of the hosts.

    ``gone`` are names that the fleet no longer has: a new host may be one of them under another name.
    """
    states = database.states()
    ways = {settings: opened(settings) for settings in {target.settings for target in hosts.values()}}
    left, waiting, pulled = list(hosts)[::-1], set[Future[Answer]](), dict[str, Pulled]()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while left or waiting:
            # No more answers than these are in memory, whichever is slower: fetching or storing.
            while left and len(waiting) < AT_ONCE:
                host = left.pop()
                state = states.get(host, HostState(host))
                waiting.add(pool.submit(ask, host, hosts[host], ways[hosts[host].settings], state))
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            while done:
                answer = done.pop().result()
                pulled[answer.host] = take(database, answer, time.time(), gone)
    return [pulled[host] for host in hosts]


def take(database: Database, answer: Answer, moment: float, gone: Collection[str]) -> Pulled:
    try:
        document = document_of(answer.reply) if answer.reply else None
    except (PullError, DocumentError) as error:
        answer, document = (
            Answer(answer.host, error=printable(error.message[:MAXIMUM_MESSAGE]), hint=error.hint),
            None,
        )
    if document is None or answer.reply is None:
        database.note(answer.host, moment, answer.error)
        return Pulled(answer.host, error=answer.error, hint=answer.hint)
    formerly = former_name(database, answer.host, document, gone)
    if formerly:
        database.rename(formerly, answer.host)
    changes = database.take(answer.host, etag_of(answer.reply), document, moment)
    return Pulled(answer.host, changes, formerly=formerly)


def etag_of(reply: Reply) -> str:
    """The reply's ETag; empty for one that a server could refuse when it is sent back, at every pull."""
    found = reply.headers.get("ETag", "")
    return found if _ETAG.fullmatch(found) else ""


def document_of(reply: Reply) -> InventoryDocument | None:
    """The document of an answer; None when nothing is new. Raises PullError, DocumentError."""
    if reply.status == http.HTTPStatus.NOT_MODIFIED:
        return None
    return parse(unpacked(reply.body, reply.headers.get("Content-Encoding", "")))


def former_name(database: Database, host: str, document: InventoryDocument, gone: Collection[str]) -> str:
    """The name under which a host without history was known: that of the one gone host of its machine id."""
    if not gone or database.first_pull(host) is not None:
        return ""
    machine = machine_of(document.items)
    same = [
        name
        for name in gone
        if machine and machine_of(row.item for row in database.now(name, "host")) == machine
    ]
    return same[0] if len(same) == 1 else ""


def machine_of(items: Iterable[Item]) -> str:
    """The machine id of a host, empty if unknown."""
    found = [json.loads(item.fields).get("machine_id") for item in items if item.kind == "host"]
    return str(found[0] or "") if found else ""
