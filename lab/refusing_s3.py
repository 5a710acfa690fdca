"""A stand-in for an S3 that refuses some requests: no real server does that on demand.

It keeps objects in memory, checks no signature beyond the SHA-256 in it, and only proves
how a client handles refusals. The behaviour of a real store is tested with OpenStack Swift.
"""

import hashlib
import re
import threading
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

ETags = Literal["md5", "encrypted", "unannounced", "odd"]


@dataclass
class RefusingS3:
    """``refuses``: header -> the status and code of its refusal. ``seen`` has the headers of every PUT.

    ``listing`` 1: a request for the second version of listings is refused; 0: it is treated as the first.
    ``instead`` of any answer: a status and a body, as from a proxy in front of a store.
    """

    refuses: dict[str, tuple[int, str]] = field(default_factory=dict)
    etags: ETags = "md5"
    listing: int = 2
    overwrites: bool = False
    ranges: bool = True  # otherwise every GET returns the whole object
    region: str = "us-east-1"
    instead: tuple[int, str] | None = None
    objects: dict[str, bytes] = field(default_factory=dict)
    seen: list[dict[str, str]] = field(default_factory=list)
    server: ThreadingHTTPServer | None = None

    def __enter__(self) -> Self:
        stand_in = self

        class BoundHandler(_Handler):
            def __init__(self, *arguments: object) -> None:
                self.s3 = stand_in
                super().__init__(*arguments)  # type: ignore[arg-type]

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), BoundHandler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self.server is not None
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self) -> str:
        """Where it listens."""
        assert self.server is not None
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def etag(self, data: bytes) -> str:
        """The ETag of an object; for an encrypted one, that of the stored bytes."""
        plain = hashlib.md5(data, usedforsecurity=False).hexdigest()
        other = hashlib.md5(b"encrypted" + data, usedforsecurity=False).hexdigest()
        return {"md5": plain, "encrypted": other, "unannounced": other, "odd": f"{other}-x"}[self.etags]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    s3: RefusingS3

    def parse_request(self) -> bool:
        whole = super().parse_request()
        if not whole or self.s3.instead is None:
            return whole
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, body = self.s3.instead
        self._answer(status, body.encode())
        self.wfile.flush()
        return False

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.s3.seen.append({name.lower(): value for name, value in self.headers.items()})
        for header, (status, code) in self.s3.refuses.items():
            if header in self.headers:
                self._refuse(status, code)
                return
        if f"/{self.s3.region}/s3/" not in self.headers["Authorization"]:
            self._refuse(400, "AuthorizationHeaderMalformed", f"<Region>{self.s3.region}</Region>")
        elif hashlib.sha256(data).hexdigest() != self.headers["x-amz-content-sha256"]:
            self._refuse(400, "XAmzContentSHA256Mismatch")
        elif "If-None-Match" in self.headers and self._key in self.s3.objects and not self.s3.overwrites:
            self._refuse(412, "PreconditionFailed")
        else:
            self.s3.objects[self._key] = data
            self._answer(200, b"", data)

    def do_GET(self) -> None:
        if self._key.count("/") < 1:
            self._list()
        elif self._key not in self.s3.objects:
            self._refuse(404, "NoSuchKey")
        else:
            data = self.s3.objects[self._key]
            span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if span is None or not self.s3.ranges:
                self._answer(200, data, data)
                return
            first, last = int(span[1]), min(int(span[2] or len(data)), len(data) - 1)
            place = {"Content-Range": f"bytes {first}-{last}/{len(data)}"}
            self._answer(206, data[first : last + 1], data, place)

    def do_HEAD(self) -> None:
        data = self.s3.objects.get(self._key, b"")
        found = "/" not in self._key or self._key in self.s3.objects
        self._answer(200 if found else 404, data, data)

    def do_DELETE(self) -> None:
        self.s3.objects.pop(self._key, None)
        self._answer(204)

    def log_message(self, *_: object) -> None:
        pass

    @property
    def _key(self) -> str:
        """``bucket/key``."""
        return unquote(urlsplit(self.path).path).strip("/")

    def _list(self) -> None:
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        if query.get("list-type") == "2" and self.s3.listing == 1:
            self._refuse(501, "NotImplemented")
            return
        bucket, second = self._key, query.get("list-type") == "2" and self.s3.listing == 2
        after = query.get("continuation-token" if second else "marker", "")
        keys = sorted(key.removeprefix(f"{bucket}/") for key in self.s3.objects)
        keys = [key for key in keys if key.startswith(query.get("prefix", "")) and key > after]
        page = keys[: int(query.get("max-keys", 1000))]
        cut = len(page) < len(keys)
        token = f"<NextContinuationToken>{page[-1]}</NextContinuationToken>" if cut and second else ""
        entries = "".join(self._entry(key, self.s3.objects[f"{bucket}/{key}"]) for key in page)
        truncated = f"<IsTruncated>{str(cut).lower()}</IsTruncated>"
        self._answer(200, f"<ListBucketResult>{truncated}{token}{entries}</ListBucketResult>".encode())

    def _entry(self, key: str, data: bytes) -> str:
        now = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        facts = f"<LastModified>{now}</LastModified><ETag>&quot;{self.s3.etag(data)}&quot;</ETag>"
        return f"<Contents><Key>{escape(key)}</Key>{facts}<Size>{len(data)}</Size></Contents>"

    def _refuse(self, status: int, code: str, more: str = "") -> None:
        self._answer(status, f"<Error><Code>{code}</Code><Message>No.</Message>{more}</Error>".encode())

    def _answer(
        self, status: int, body: bytes = b"", whole: bytes | None = None, more: dict[str, Any] | None = None
    ) -> None:
        self.send_response(status)
        headers = {"Content-Length": len(body), "Last-Modified": formatdate(usegmt=True), **(more or {})}
        if whole is not None:
            headers["ETag"] = f'"{self.s3.etag(whole)}"'
            if self.s3.etags == "encrypted":
                headers["x-amz-server-side-encryption"] = "aws:kms"
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
