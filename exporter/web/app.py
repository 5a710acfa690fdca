"""The exporter's paths: live metrics, inventory, health, and a landing page."""

import math
import socket
import threading
from collections.abc import Callable, Collection, Sequence
from functools import partial
from http import HTTPStatus
from typing import Generic, Protocol, TypeVar
from urllib.parse import parse_qs

from exporter.exposition import Family, Form, Piece, Renderer, openmetrics_page, text_page
from exporter.inventory.inventory import InventorySnapshot
from exporter.not_served import NOT_SERVED, NOT_SERVED_LATER
from exporter.scrape import DEFAULT_DEADLINE
from exporter.web.access import RulesState
from exporter.web.http1 import Request, Response, problem
from exporter.web.landing import CONTENT_SECURITY_POLICY, landing_page
from exporter.web.negotiation import TEXT, Offer, choose_metrics, gzip, wants_gzip
from exporter.web.server import ServerStatus
from leitstand.version import VERSION

# A healthy collector needs milliseconds. With less time it would count as hanging, for all clients.
MINIMUM_DEADLINE_SECONDS = 0.1
MAXIMUM_DEADLINE_SECONDS = 120.0
# seconds for the response to reach Prometheus after the last collector's time limit
DELIVERY_SECONDS = 0.5
_SMALLEST_WORTH_GZIP = 512  # bytes; below this, gzip's header outweighs its savings
_VARY = (("Vary", "Accept, Accept-Encoding"),)
Body = TypeVar("Body")


class Scraping(Protocol):
    """The live collectors, as this module needs them."""

    @property
    def names(self) -> Collection[str]:
        """The enabled collectors."""

    def scrape(self, deadline_seconds: float, names: Collection[str] | None, form: Form) -> Sequence[Piece]:
        """The pieces of a page of this form, after at most ``deadline_seconds``."""


class Inventory(Protocol):
    """The inventory, as this module needs it."""

    def snapshot(self) -> InventorySnapshot:
        """The newest snapshot, at once."""


class App:
    """The handler of every request: ``App(scraper, inventory)(request)``.

    ``telemetry_path`` is the path of the live metrics; the inventory's series are below it.
    """

    def __init__(
        self, scraper: Scraping, inventory: Inventory, telemetry_path: str = "/metrics", host: str = ""
    ) -> None:
        self._scraper, self._inventory = scraper, inventory
        self._status: Callable[[], ServerStatus] | None = None
        self._renderer = Renderer()
        self._openmetrics: _OtherForm[Sequence[Piece]] = _OtherForm(openmetrics_page, ())
        self._gzip = _OtherForm(gzip, b"")
        series_path = (telemetry_path.rstrip("/") or "/metrics") + "/inventory"
        self._landing = partial(
            landing_page, host or socket.gethostname(), VERSION, _links(telemetry_path, series_path)
        )
        self._routes: dict[str, Callable[[Request], Response]] = {
            "/": self._root,
            "/inventory": self._document,
            "/-/healthy": lambda _: Response(HTTPStatus.OK, b"Healthy\n"),
            "/-/ready": lambda _: Response(HTTPStatus.OK, b"Ready\n"),
            series_path: self._series,
            telemetry_path: self._metrics,
        }

    def __call__(self, request: Request) -> Response:
        """The answer to a GET or HEAD."""
        route = self._routes.get(request.path)
        return route(request) if route else problem(HTTPStatus.NOT_FOUND)

    def observe(self, status: Callable[[], ServerStatus]) -> None:
        """Also serve the server's own metrics: ``app.observe(server.status)``."""
        self._status = status

    def _root(self, _: Request) -> Response:
        headers = (
            ("Content-Security-Policy", CONTENT_SECURITY_POLICY),
            ("X-Content-Type-Options", "nosniff"),
        )
        return Response(HTTPStatus.OK, self._landing(), "text/html; charset=utf-8", headers)

    def _metrics(self, request: Request) -> Response:
        try:
            names = chosen_names(request.query, self._scraper.names)
        except ValueError as error:
            return problem(HTTPStatus.BAD_REQUEST, str(error))
        offer = _offer(request)
        pieces = self._scraper.scrape(deadline(request), names, "text" if offer is TEXT else "openmetrics")
        if self._status is not None and names is None:
            pieces = [*pieces, *self._renderer.pieces(server_families(self._status()))]
        body = text_page(pieces) if offer is TEXT else openmetrics_page(pieces)
        return _encoded(request, body, offer.content_type, gzip)

    def _series(self, request: Request) -> Response:
        snapshot, offer = self._inventory.snapshot(), _offer(request)
        if offer is TEXT:
            return _encoded(request, snapshot.series, offer.content_type, lambda _: snapshot.series_gzip)
        page = self._openmetrics.get(snapshot.series_pieces)
        return _encoded(request, page, offer.content_type, self._gzip.get)

    def _document(self, request: Request) -> Response:
        snapshot = self._inventory.snapshot()
        if not snapshot.document:
            return problem(
                HTTPStatus.SERVICE_UNAVAILABLE, "the inventory is being read", (("Retry-After", "5"),)
            )
        tag = f'"{snapshot.etag}"'
        headers = (("ETag", tag), ("Cache-Control", "no-cache"))
        if _same(request.headers.get("if-none-match", ""), tag):
            return Response(HTTPStatus.NOT_MODIFIED, headers=(*headers, *_VARY))
        return _encoded(
            request, snapshot.document, "application/json", lambda _: snapshot.document_gzip, headers
        )


class _OtherForm(Generic[Body]):
    """Another form of a large body that stays the same for hours, computed once."""

    def __init__(self, make: Callable[[Body], bytes], body: Body) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._body, self._form = body, make(body)

    def get(self, body: Body) -> bytes:
        """The form of ``body``, computed again only if the body has changed."""
        with self._lock:
            if body is not self._body:
                self._body, self._form = body, self._make(body)
            return self._form


def _links(telemetry_path: str, series_path: str) -> list[tuple[str, str]]:
    return [
        (telemetry_path, "Live metrics and inventory counts, for Prometheus"),
        (series_path, "One series per inventory item, for a separate scrape job"),
        ("/inventory", "The whole inventory as JSON"),
        ("/-/healthy", "Whether the exporter is running"),
    ]


def _offer(request: Request) -> Offer:
    return choose_metrics(request.headers.get("accept", ""))


def _encoded(
    request: Request,
    body: bytes,
    content_type: str,
    compress: Callable[[bytes], bytes],
    headers: tuple[tuple[str, str], ...] = (),
) -> Response:
    headers = (*headers, *_VARY)
    if len(body) >= _SMALLEST_WORTH_GZIP and wants_gzip(request.headers.get("accept-encoding", "")):
        body, headers = compress(body), (*headers, ("Content-Encoding", "gzip"))
    return Response(HTTPStatus.OK, body, content_type, headers)


def _same(if_none_match: str, tag: str) -> bool:
    """Whether an ``If-None-Match`` header names this tag (RFC 9110 13.1.2: weak comparison)."""
    named = [item.strip().removeprefix("W/") for item in if_none_match.split(",")]
    return "*" in named or tag in named


def deadline(request: Request) -> float:
    """Seconds a scrape may take, from ``X-Prometheus-Scrape-Timeout-Seconds``."""
    try:
        timeout = float(request.headers.get("x-prometheus-scrape-timeout-seconds", ""))
    except ValueError:
        return DEFAULT_DEADLINE
    if not math.isfinite(timeout) or timeout <= 0:
        return DEFAULT_DEADLINE
    seconds = max(timeout - DELIVERY_SECONDS, timeout / 2, MINIMUM_DEADLINE_SECONDS)
    return min(MAXIMUM_DEADLINE_SECONDS, seconds)


def chosen_names(query: str, known: Collection[str]) -> list[str] | None:
    """The collectors selected by ``collect[]`` and ``exclude[]``, None for all. Raises ValueError.

    One that only node_exporter has yields nothing: a scrape job written for it keeps working.
    """
    if not query:
        return None
    parameters = parse_qs(query, max_num_fields=1000)
    wanted, unwanted = parameters.get("collect[]", []), parameters.get("exclude[]", [])
    if wanted and unwanted:
        raise ValueError("collect[] and exclude[] cannot be combined")
    possible = {*known, *NOT_SERVED, *NOT_SERVED_LATER}
    if unknown := next((name for name in (*wanted, *unwanted) if name not in possible), None):
        raise ValueError(f"missing collector: {unknown[:64]!r}")
    if wanted:
        return [name for name in dict.fromkeys(wanted) if name in known]
    return [name for name in known if name not in unwanted] if unwanted else None


def server_families(status: ServerStatus) -> list[Family]:
    """The server's own metrics."""
    connections = Family("leitstand_exporter_connections", "gauge", "Open connections.")
    connections.add(status.connections)
    refused = Family(
        "leitstand_exporter_refused_total",
        "counter",
        "Requests and connections that the exporter refused or closed, by reason.",
        ("reason",),
    )
    for reason, count in sorted(status.refused.items()):
        refused.add(count, reason)
    return [connections, refused, *_rules_families(status.rules)]


def server_names() -> frozenset[str]:
    """The names of all the server's metrics."""
    return frozenset(
        family.full_name for family in server_families(ServerStatus(0, {}, RulesState(valid=True, loaded=0)))
    )


def _rules_families(state: RulesState | None) -> list[Family]:
    if state is None:
        return []
    valid = Family(
        "leitstand_exporter_web_config_valid",
        "gauge",
        "Whether the web configuration on disk is in use; 0 if it is refused and an earlier one is in use.",
    )
    valid.add(int(state.valid))
    loaded = Family(
        "leitstand_exporter_web_config_loaded_timestamp_seconds",
        "gauge",
        "When the web configuration in use was read.",
    )
    loaded.add(state.loaded)
    return [valid, loaded]
