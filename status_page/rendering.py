"""Every output as bytes: pages, JSON, badges, feeds, made from the PublicSnapshot alone."""

import hashlib
import uuid
from functools import cache
from pathlib import Path
from typing import get_args

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from status_page import words
from status_page.api import status_json
from status_page.ready import Bundle, Document, Documents
from status_page.snapshot import Language, PublicSnapshot
from status_page.states import Variant, uncertain
from status_page.texts import texts
from status_page.views import PageView, page_view

HERE = Path(__file__).parent
HTML, JSON, SVG, ATOM = (
    "text/html; charset=utf-8",
    "application/json",
    "image/svg+xml",
    "application/atom+xml",
)
CACHE_ASSET = "public, max-age=31536000, immutable"
_ASSET_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": SVG}
_NAMESPACE = uuid.UUID("5f3c0d3e-6a52-5a0b-9d5e-2b7d6b1c9f10")


def bundle(snapshot: PublicSnapshot) -> Bundle:
    return Bundle(
        {variant: documents(uncertain(snapshot, variant)) for variant in get_args(Variant)},
        assets(),
        {f"/{language}/": error_page(language) for language in snapshot.languages},
        words.ages(snapshot),
        snapshot.measured_at,
        snapshot.stale_at,
        snapshot.expires_at,
    )


def documents(snapshot: PublicSnapshot) -> Documents:
    """Every document of one variant, by path."""
    found = {"/api/v1/status.json": Document(status_json(snapshot).encode(), JSON, open=True)}
    for language in snapshot.languages:
        found |= _in_language(page_view(snapshot, language), language)
    return found


def _in_language(view: PageView, language: Language) -> Documents:
    found = {
        f"/{language}/": _document("page.html", view, HTML),
        f"/{language}/feed.xml": _document("feed.xml", view, ATOM, open=True),
    }
    for _, services in view.groups:
        for service in services:
            path = f"/{language}/badge/{service.id}.svg"
            found[path] = _document("badge.svg", view, SVG, open=True, service=service)
    return found


def _document(
    template: str, view: PageView, content_type: str, open: bool = False, **more: object
) -> Document:
    text = environment().get_template(template).render(page=view, _=texts(view.language).gettext, **more)
    return Document(text.encode(), content_type, view.language, open=open)


def error_page(language: Language) -> Document:
    """The page for an unknown path."""
    text = environment().get_template("error.html").render(language=language, _=texts(language).gettext)
    return Document(text.encode(), HTML, language)


@cache
def environment() -> Environment:
    """Jinja with escaping on for all files."""
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {
        "asset": asset_path,
        "locale": lambda language: str(texts(language).locale),
        "uuid": lambda name: f"urn:uuid:{uuid.uuid5(_NAMESPACE, name)}",
    }
    made.filters["language_name"] = lambda language: texts(language).locale.get_language_name()
    return made


@cache
def assets() -> Documents:
    """Style, script and icons under names with their hash, so that caches may keep them indefinitely."""
    found = {}
    for file in sorted((HERE / "static").iterdir()):
        body = file.read_bytes()
        name = f"/static/{file.stem}.{hashlib.sha256(body).hexdigest()[:12]}{file.suffix}"
        found[name] = Document(body, _ASSET_TYPES[file.suffix], cache=CACHE_ASSET)
    return found


@cache
def asset_path(name: str) -> str:
    stem, _, suffix = name.rpartition(".")
    return next(path for path in assets() if path.startswith(f"/static/{stem}.") and path.endswith(suffix))
