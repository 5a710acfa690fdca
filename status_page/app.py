"""Builds the application of the web workers: ready-made pages first, Flask for everything else."""

import time
from collections.abc import Callable
from pathlib import Path

from flask import Flask, Response, redirect, request
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.wrappers import Response as WerkzeugResponse

from status_page import ready
from status_page.plan import Plan
from status_page.ready import Release
from status_page.web import (
    SAME_ORIGIN,
    SECURITY_HEADERS,
    Application,
    CurrentRelease,
    ReadyPages,
    best_language,
)


def build_application(plan: Plan, folder: Path) -> Application:
    """The WSGI application of one worker. Before the collector's first round everything is unknown."""
    current = CurrentRelease(folder, lambda: _nothing_known(plan))
    return ReadyPages(current, plan.languages, create_app(plan, current).wsgi_app)


def _nothing_known(plan: Plan) -> Release:
    # Imported late: it needs Babel, which a worker does without once there are pages.
    from status_page.rendering import bundle
    from status_page.round import nothing_known

    return ready.release(bundle(nothing_known(plan, time.time())))


def create_app(plan: Plan, current: Callable[[], Release]) -> Flask:
    """Everything but ready-made pages: the health check and errors. No session, no cookie, no form."""
    app = Flask(__name__, static_folder=None)

    @app.get("/-/healthy")
    def healthy() -> Response:
        return Response(
            "healthy\n", content_type="text/plain; charset=utf-8", headers={"Cache-Control": "no-store"}
        )

    @app.get("/<language>")
    def with_a_slash(language: str) -> WerkzeugResponse:
        if language not in plan.languages:
            raise NotFound
        return redirect(f"/{language}/", 308)

    @app.errorhandler(HTTPException)
    def constant_answer(error: HTTPException) -> Response:
        language = best_language(request.headers.get("Accept-Language", ""), plan.languages)
        document = current().variants["errors"][f"/{language}/"].document
        return Response(
            document.body,
            status=error.code,
            content_type=document.content_type,
            headers={"Cache-Control": "public, max-age=10", "Vary": "Accept-Language"},
        )

    @app.after_request
    def secure(answer: Response) -> Response:
        for name, value in (*SECURITY_HEADERS, *SAME_ORIGIN):
            answer.headers[name] = value
        return answer

    return app
