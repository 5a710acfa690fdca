"""Objects in a bucket over the S3 API: OpenStack Swift first, any other S3 as well.

Only calls that Swift's s3api answers as S3 does: no retention, lifecycle, tagging or encryption calls (on
Swift some of them replace the object or delete the bucket), no multipart uploads, no delete of several keys.
"""

import base64
import configparser
import hashlib
import io
import logging
import re
import threading
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import boto3
from botocore import UNSIGNED
from botocore.auth import S3SigV4Auth
from botocore.config import Config
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, SSLError
from pydantic import SecretStr
from urllib3.exceptions import HTTPError

from leitstand.errors import UsageError
from orchestrator.config import S3Store as S3Settings
from orchestrator.pages import Buffer, pieces
from orchestrator.stores.limit import Line
from orchestrator.stores.retry import Retry
from orchestrator.stores.store import ObjectInfo, ObjectMissingError, StoreError, check_key

Result = TypeVar("Result")
_log = logging.getLogger(__name__)
CONNECT_SECONDS = 10
CONNECTIONS = 12  # more than a run and its checks ever use at a time
_MD5_DIGITS = 32
_MISSING = ("NoSuchKey", "404", "NotFound")
# Refusals that are worth another try all the same: the bytes were damaged or cut on the way.
_DAMAGED = ("BadDigest", "IncompleteBody", "RequestTimeout", "XAmzContentSHA256Mismatch", "SlowDown")
_WRONG_KEY = ("SignatureDoesNotMatch", "InvalidAccessKeyId")
_FULL = "the store's quota is used up: prune, or ask for a larger one"
_NO_S3 = (
    "is 'endpoint' the S3 API's address alone, without a path such as /v1/AUTH_…, and 'region' the store's?"
)
_HINTS = {
    "SignatureDoesNotMatch": "access_key or secret_key in the credentials file is wrong",
    "InvalidAccessKeyId": "access_key in the credentials file is wrong",
    "AccessDenied": "these credentials may not do this",
    "403": "these credentials may not do this, or they are wrong",
    "NoSuchBucket": "the bucket is not there: is it mistyped? The first run makes it",
    "RequestTimeTooSkewed": "this machine's clock is wrong",
    "413": _FULL,
    "EntityTooLarge": _FULL,
    "507": "the store is full",
    "AuthorizationHeaderMalformed": "the store's region is another one: set 'region'",
}


class _Body(io.RawIOBase):
    """An object's bytes as boto3 takes them: a file, whose length is all that it asks before it is sent.

    What is sent are its ``pieces``: boto3 would read a file in blocks of 16 KiB, thousands for each volume.
    """

    def __init__(self, data: Buffer, line: Line) -> None:
        self._length, self.pieces = memoryview(data).nbytes, line.pieces(data)

    def __len__(self) -> int:
        return self._length


class _Signer(S3SigV4Auth):
    """SigV4 with the SHA-256 that the request names already: the body is not read once more for it."""

    def payload(self, request: Any) -> str:
        return base64.b64decode(request.headers["x-amz-checksum-sha256"]).hex()


class S3Store:
    """A store in a bucket. Every body is checked by the server: its MD5, and its SHA-256 in the signature."""

    checks_md5 = True

    def __init__(
        self,
        name: str,
        settings: S3Settings,
        retry: Retry | None = None,
        *,
        is_new: bool = True,
        credit: Path | None = None,
    ) -> None:
        self.name, self.settings, self.is_new = name, settings, is_new
        self.retry = retry or Retry(settings.tries)
        self.page_keys = 1000
        self.root = f"{settings.prefix}/" if settings.prefix else ""
        self.line = Line(settings.upload_limit, credit)
        credentials = read_credentials(settings.credentials_file)
        self.client = _connect(settings, credentials)
        _sign_and_send_puts(self.client, _Signer(_frozen(credentials), "s3", settings.region))
        self._write_once = threading.Event()  # set while the server is not known to refuse If-None-Match
        self._write_once.set()

    def prepare(self) -> None:
        """Make the bucket of a new store when it is not there. A writer that may not ask is believed."""
        bucket = self.settings.bucket
        try:
            self._call("bucket", lambda: self.client.head_bucket(Bucket=bucket))
        except ObjectMissingError:
            if not self.is_new:
                raise StoreError(
                    f"{self.name}: there is no bucket '{bucket}', though this store was used before",
                    "is it mistyped? A new bucket is a store of its own: give it a name of its own",
                    permanent=True,
                ) from None
            self._make(bucket)
            _log.info("%s: there was no bucket '%s': it was made", self.name, bucket)
        except StoreError as error:
            code = _code(error.__cause__)
            if code == "400":  # HEAD has no text: a signed path is not the one it got, or a region
                raise StoreError(error.message, _NO_S3, permanent=True) from error
            if not error.denied or code not in ("403", "AccessDenied"):
                raise

    def _make(self, bucket: str) -> None:
        try:
            self._call("bucket", lambda: self.client.create_bucket(Bucket=bucket))
        except ObjectMissingError as error:  # Swift's own API, a web server
            message = f"{self.name}: {self.settings.endpoint} neither has nor makes a bucket '{bucket}'"
            raise StoreError(message, _NO_S3, permanent=True) from error

    def put(self, key: str, data: Buffer, *, sha256: str, md5: str = "") -> None:
        """One PutObject, refused by the server when there is an object under this key."""
        digest = bytes.fromhex(md5) if md5 else _md5(data)
        request: dict[str, Any] = {
            "Bucket": self.settings.bucket,
            "Key": self.root + check_key(key),
            "ContentMD5": base64.b64encode(digest).decode(),
            "ChecksumSHA256": base64.b64encode(bytes.fromhex(sha256)).decode(),
        }
        self.retry.call(self.name, lambda: self._put(key, data, request, digest.hex()))

    def _put(self, key: str, data: Buffer, request: dict[str, Any], md5: str) -> None:
        conditions = {"IfNoneMatch": "*"} if self._write_once.is_set() else {}
        body = _Body(data, self.line)  # one for each try: a failed one leaves it sent to its middle or end
        try:
            answer = self._once(key, lambda: self.client.put_object(Body=body, **request, **conditions))
            if answer["ETag"].strip('"') != md5:
                raise StoreError(f"{self.name}: {key}: the store took other bytes than were sent")
        except StoreError as error:
            code = _code(error.__cause__)
            if code == "NotImplemented" and conditions:
                self._write_once.clear()  # Swift before 2.36; keys are unique by their random part anyway
                self._put(key, data, request, md5)
            elif code != "PreconditionFailed":
                raise
            elif not self._holds(key, md5):
                message = f"{self.name}: {key} is there already, with other bytes than were sent"
                raise StoreError(message, "nothing is ever overwritten", permanent=True) from error

    def _holds(self, key: str, md5: str) -> bool:
        info = self._stat(key)
        return info is not None and info.md5 == md5

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """One GetObject with a range."""
        if length == 0:
            return b""
        end = "" if length is None else str(start + length - 1)
        span = {"Range": f"bytes={start}-{end}"} if start or end else {}
        full_key = self.root + check_key(key)

        def read() -> bytes:
            answer = self.client.get_object(Bucket=self.settings.bucket, Key=full_key, **span)
            with answer["Body"] as body:
                data: bytes = body.read()
            if not _is_whole(answer, data):
                raise StoreError(f"{self.name}: {key}: the answer was cut or damaged on its way")
            return data

        try:
            return self._call(key, read)
        except StoreError as error:
            if _code(error.__cause__) in ("InvalidRange", "416"):
                return b""
            raise

    def stat(self, key: str) -> ObjectInfo | None:
        """One HeadObject."""
        return self.retry.call(self.name, lambda: self._stat(key))

    def _stat(self, key: str) -> ObjectInfo | None:
        full_key = self.root + check_key(key)
        try:
            answer = self._once(
                key, lambda: self.client.head_object(Bucket=self.settings.bucket, Key=full_key)
            )
        except ObjectMissingError:
            return None
        return ObjectInfo(key, answer["ContentLength"], answer["LastModified"], answer["ETag"].strip('"'))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """ListObjectsV2, page by page."""
        request: dict[str, Any] = {
            "Bucket": self.settings.bucket,
            "Prefix": self.root + prefix,
            "MaxKeys": self.page_keys,
        }
        while True:
            page = self._call("listing", lambda: self.client.list_objects_v2(**request))
            for entry in page.get("Contents", []):
                key = entry["Key"].removeprefix(self.root)
                yield ObjectInfo(key, entry["Size"], entry["LastModified"], entry["ETag"].strip('"'))
            if not page.get("IsTruncated"):
                return
            request["ContinuationToken"] = page["NextContinuationToken"]

    def delete(self, key: str) -> None:
        """One DeleteObject."""
        full_key = self.root + check_key(key)
        self._call(key, lambda: self.client.delete_object(Bucket=self.settings.bucket, Key=full_key))

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    def _call(self, key: str, action: Callable[[], Result]) -> Result:
        return self.retry.call(self.name, lambda: self._once(key, action))

    def _once(self, key: str, action: Callable[[], Result]) -> Result:
        """One try of a call, with boto's errors translated."""
        try:
            return action()
        except ClientError as error:
            if _code(error) in _MISSING:
                raise ObjectMissingError(self.name, key) from error
            raise self._refused(key, error) from error
        except EndpointConnectionError as error:
            message = f"{self.name}: {self.settings.endpoint} cannot be reached"
            raise StoreError(message, "is the store running, and the endpoint right?") from error
        except SSLError as error:
            message = f"{self.name}: {self.settings.endpoint}: TLS failed: {error}"
            raise StoreError(
                message, "name the authority's certificate as ca_file", permanent=True
            ) from error
        except (
            BotoCoreError,
            HTTPError,
        ) as error:  # the latter leaves the body of an answer uncaught by boto
            raise StoreError(f"{self.name}: {key}: {error}") from error

    def _refused(self, key: str, error: ClientError) -> StoreError:
        code, status = _code(error), _status(error)
        text = str(error.response.get("Error", {}).get("Message", ""))
        permanent = 400 <= status < 500 and status not in (408, 429) and code not in _DAMAGED
        message = f"{self.name}: {key}: {code} ({status}) {text}".rstrip()
        permanent = permanent or code == "NotImplemented"
        hint = _HINTS.get(code) or _HINTS.get(str(status), "")
        wait = _retry_after(error)
        denied = status == 403
        whose = self.name if denied and code not in _WRONG_KEY else ""
        return StoreError(message, hint, permanent=permanent, denied=denied, retry_after=wait, whose=whose)


def read_credentials(path: Path) -> tuple[str, SecretStr]:
    """access_key and secret_key from an ini file that others must not read. Raises UsageError."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        if path.stat().st_mode & 0o007:
            raise UsageError(f"{path}: every user may read these credentials", f"chmod 600 {path}")
        parser.read_string(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", "it holds access_key and secret_key") from error
    except (configparser.Error, UnicodeDecodeError):
        # The parser's own message would quote the line, and so the secret.
        parser.clear()
    for section in parser.values():
        if "access_key" in section and "secret_key" in section:
            return section["access_key"], SecretStr(section["secret_key"])
    raise UsageError(
        f"{path}: no access_key and secret_key in it", "[default], access_key = …, secret_key = …"
    )


def _md5(data: Buffer) -> bytes:
    digest = hashlib.md5(usedforsecurity=False)
    for piece in pieces(data):
        digest.update(piece)
    return digest.digest()


def _frozen(credentials: tuple[str, SecretStr]) -> ReadOnlyCredentials:
    return ReadOnlyCredentials(credentials[0], credentials[1].get_secret_value(), None)


_SESSION = threading.Lock()  # clients are made one after the other, a session is no place for two threads


def _connect(settings: S3Settings, credentials: tuple[str, SecretStr]) -> Any:
    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": "path", "payload_signing_enabled": True},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        connect_timeout=CONNECT_SECONDS,
        read_timeout=settings.timeout.total_seconds(),
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=CONNECTIONS,
    )
    with _SESSION:
        return _session().client(
            "s3",
            aws_access_key_id=credentials[0],
            aws_secret_access_key=credentials[1].get_secret_value(),
            endpoint_url=settings.endpoint,
            region_name=settings.region,
            verify=str(settings.ca_file) if settings.ca_file else True,
            config=config,
        )


@cache
def _session() -> boto3.session.Session:
    """One for all stores: it keeps boto3's description of S3, which takes 0.1 s to read."""
    return boto3.session.Session()


def _sign_and_send_puts(client: Any, signer: _Signer) -> None:
    """Let ``signer`` sign every PutObject in place of boto3, and send its body in pieces."""

    def sign(request: Any, **_: Any) -> None:
        signer.add_auth(request)

    def send(request: Any, **_: Any) -> None:
        request.body = request.body.pieces

    client.meta.events.register_first("choose-signer.s3.PutObject", lambda **_: UNSIGNED)
    client.meta.events.register_last("before-sign.s3.PutObject", sign)
    client.meta.events.register("before-send.s3.PutObject", send)


def _code(error: BaseException | None) -> str:
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _is_whole(answer: dict[str, Any], data: bytes) -> bool:
    """Whether the bytes are as many as the answer says, and, of a whole object, have its MD5."""
    span = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", answer.get("ContentRange", ""))
    if span:
        first, last, size = map(int, span.groups())
        if len(data) != last - first + 1 or len(data) != size:
            return len(data) == last - first + 1
    etag = answer["ETag"].strip('"')
    return len(etag) != _MD5_DIGITS or hashlib.md5(data, usedforsecurity=False).hexdigest() == etag


def _retry_after(error: ClientError) -> float:
    """Seconds of the Retry-After header (RFC 9110, 10.2.3); its other form, a date, is not used by stores."""
    text = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("retry-after", "")
    return float(text) if text.isdecimal() else 0
