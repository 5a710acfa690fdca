"""Objects in a bucket of the S3 API: made for OpenStack Swift, works with any S3.

Uses only calls that Swift's s3api answers like S3: no retention, lifecycle, tagging or encryption calls (on
Swift some of them replace the object or delete the bucket), no multipart uploads, no multi-object deletes.
"""

import base64
import configparser
import hashlib
import logging
import re
import stat
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, SSLError
from pydantic import SecretStr
from urllib3.exceptions import HTTPError

from leitstand.errors import UsageError
from leitstand.trust import exposed
from orchestrator.archive.mapped_memory import Buffer, pieces
from orchestrator.config.stores import S3Settings
from orchestrator.stores.dialect import ETAGS, LISTING, Dialect, is_encrypted, refuses_a_header
from orchestrator.stores.limit import Line
from orchestrator.stores.retry import Retry
from orchestrator.stores.s3_client import Body, connect
from orchestrator.stores.s3_hints import HINTS, NEVER_TWICE, NO_ANSWER, NO_MD5, NO_S3
from orchestrator.stores.store import ObjectInfo, ObjectMissingError, StoreError, check_key

Answer = TypeVar("Answer")
_Page = tuple[list[ObjectInfo], dict[str, str]]  # its objects, and the parameters of the next page
_log = logging.getLogger(__name__)
_MD5_DIGITS = 32
_NO_HEAD_OF_A_BUCKET = ("405", "501", "MethodNotAllowed", "NotImplemented")
_MISSING = ("NoSuchKey", "404", "NotFound")
# Refusals that are still worth a retry: the bytes were damaged or cut in transit.
_DAMAGED = (
    "BadDigest",
    "IncompleteBody",
    "RequestTimeout",
    "XAmzContentSHA256Mismatch",
    "SlowDown",
    "ConditionalRequestConflict",
    "OperationAborted",
)
# Any other 403 (a wrong clock, a quota, a block page) does not show what these credentials may do.
_MAY_NOT = ("AccessDenied", "Forbidden", "403")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class S3Store:
    """A store in a bucket. The server checks every body: its MD5, and its SHA-256 in the signature."""

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
        self.client = connect(settings, read_credentials(settings.credentials_file))
        self.dialect = Dialect()

    @property
    def lacks(self) -> list[str]:
        return self.dialect.lacks

    def prepare(self) -> None:
        """Create the missing bucket of a new store. Without the right to check, it is assumed to exist."""
        bucket = self.settings.bucket
        try:
            self._call("bucket", lambda: self.client.head_bucket(Bucket=bucket))
        except ObjectMissingError:
            if not self.is_new:
                raise StoreError(
                    f"{self.name}: there is no bucket '{bucket}', though this store was used before",
                    "is it mistyped? A new bucket is a new store: give the store another name",
                    permanent=True,
                ) from None
            self._make(bucket)
            _log.info("%s: created bucket '%s'", self.name, bucket)
        except StoreError as error:
            code = _code(error.__cause__)
            if code == "400":  # HEAD has no text: another path was signed, or another region
                raise StoreError(error.message, NO_S3, permanent=True) from error
            if code not in ("403", "AccessDenied", *_NO_HEAD_OF_A_BUCKET):
                raise

    def _make(self, bucket: str) -> None:
        try:
            self._call("bucket", lambda: self.client.create_bucket(Bucket=bucket))
        except StoreError as error:  # ObjectMissingError: Swift's own API, a web server
            if not isinstance(error, ObjectMissingError):
                raise
            message = f"{self.name}: {self.settings.endpoint} has no bucket '{bucket}' and does not create it"
            raise StoreError(message, NO_S3, permanent=True) from error

    def put(self, key: str, data: Buffer, *, sha256: str, md5: str = "") -> None:
        """One PutObject, refused by the server if there is an object under this key."""
        digest = bytes.fromhex(md5) if md5 else _md5(data)
        headers = {
            "IfNoneMatch": "*",
            "ContentMD5": base64.b64encode(digest).decode(),
            "ChecksumSHA256": base64.b64encode(bytes.fromhex(sha256)).decode(),
        }
        try:
            self.retry.call(self.name, lambda: self._put(key, data, sha256, headers, digest.hex()))
        except StoreError as error:
            if _code(error.__cause__) != "PreconditionFailed":
                raise
            if not self._holds(key, sha256, digest.hex()):
                message = f"{self.name}: {key} exists already, with other bytes than were sent"
                raise StoreError(message, NEVER_TWICE, permanent=True) from error

    def _put(self, key: str, data: Buffer, sha256: str, headers: dict[str, str], md5: str) -> None:
        """One PutObject, repeated without each header that the store may have refused."""
        refusal: StoreError | None = None
        for left_out in self.dialect.ways():
            chosen = {name: value for name, value in headers.items() if name not in left_out}
            try:
                self._put_once(key, Body(data, self.line, sha256), chosen, md5)
            except StoreError as error:
                cause = error.__cause__
                if not (isinstance(cause, ClientError) and refuses_a_header(_code(cause), _status(cause))):
                    raise
                refusal = refusal or error
            else:
                self._learn(left_out)
                return
        raise refusal or AssertionError("unreachable: there is always one attempt")

    def _put_once(self, key: str, body: Body, headers: dict[str, str], md5: str) -> None:
        place = {"Bucket": self.settings.bucket, "Key": self.root + check_key(key)}
        answer = self._once(key, lambda: self.client.put_object(Body=body, **place, **headers))
        etag = _etag(answer)
        if not etag:
            raise StoreError(f"{self.name}: {key}: this is not an answer of an S3 API", NO_ANSWER)
        if etag == md5 or not self.dialect.knows(ETAGS):
            return
        if len(etag) != _MD5_DIGITS or is_encrypted(answer):
            self._learn([ETAGS])
            return
        message = f"{self.name}: {key}: the store has other bytes than were sent"
        raise StoreError(message, f"or {NO_MD5}")

    def _learn(self, lacking: Collection[str]) -> None:
        for each in self.dialect.learn(lacking):
            _log.info("%s does not have %s", self.name, each)

    def _holds(self, key: str, sha256: str, md5: str) -> bool:
        """Whether an object has these bytes: by its MD5, or by reading it back if the store has none."""
        info = self.stat(key)
        if info is None or info.md5:
            return info is not None and info.md5 == md5
        return hashlib.sha256(self.get(key)).hexdigest() == sha256

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
                _ = answer["ETag"]  # missing in pages of a proxy
                # A server may ignore the range and send all of an object of any size.
                data: bytes = body.read(None if length is None else length + 1)
            if (length is not None and len(data) > length) or (start and "ContentRange" not in answer):
                message = f"{self.name}: {key}: the store sent more than the requested range"
                raise StoreError(message, "it must support requests with a Range", permanent=True)
            if not _is_whole(answer, data, self.dialect.knows(ETAGS)):
                raise StoreError(f"{self.name}: {key}: the answer was cut or damaged in transit")
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
            return self._once(
                key,
                lambda: self._info_of(
                    key, self.client.head_object(Bucket=self.settings.bucket, Key=full_key), "ContentLength"
                ),
            )
        except ObjectMissingError:
            return None

    def _info_of(self, key: str, answer: dict[str, Any], size: str) -> ObjectInfo:
        if is_encrypted(answer):
            self._learn([ETAGS])
        modified = max(answer["LastModified"].astimezone(UTC), _EPOCH)
        _ = answer["ETag"]  # a web page may have the other two
        return ObjectInfo(key, answer[size], modified, self._md5_of(answer))

    def _md5_of(self, answer: dict[str, Any]) -> str:
        """The MD5 in an answer; "" where ETags mean something else."""
        etag = _etag(answer)
        return etag if len(etag) == _MD5_DIGITS and self.dialect.knows(ETAGS) else ""

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """ListObjectsV2, page by page."""
        request: dict[str, Any] = {
            "Bucket": self.settings.bucket,
            "Prefix": self.root + prefix,
            "MaxKeys": self.page_keys,
        }
        while True:
            infos, following = self._page(request)
            yield from (info for info in infos if info.key.startswith(prefix))
            if not following:
                return
            if following.items() <= request.items():
                raise StoreError(f"{self.name}: the listing repeats the same page", NO_ANSWER)
            request |= following

    def _page(self, request: dict[str, Any]) -> _Page:
        """A page of a listing, in the version that the store supports, and the parameters of the next one."""
        if self.dialect.knows(LISTING):
            try:
                return self._call("listing", lambda: self._read_page(self.client.list_objects_v2(**request)))
            except StoreError as error:
                if _code(error.__cause__) != "NotImplemented":
                    raise
                self._learn([LISTING])
        return self._call("listing", lambda: self._read_page(self.client.list_objects(**request)))

    def _read_page(self, page: dict[str, Any]) -> _Page:
        found = page.get("Contents", [])
        keys = [entry["Key"] for entry in found]
        infos = [
            self._info_of(key.removeprefix(self.root), entry, "Size")
            for key, entry in zip(keys, found, strict=True)
            if key.startswith(self.root)
        ]
        if not page["IsTruncated"]:  # which every listing has
            return infos, {}
        if token := page.get("NextContinuationToken"):
            return infos, {"ContinuationToken": token}
        self._learn([LISTING])  # it answers with the first version only
        return infos, {"Marker": page.get("NextMarker") or keys[-1]}

    def delete(self, key: str) -> None:
        """One DeleteObject."""
        full_key = self.root + check_key(key)
        self._call(key, lambda: self.client.delete_object(Bucket=self.settings.bucket, Key=full_key))

    def close(self) -> None:
        self.client.close()

    def _call(self, key: str, action: Callable[[], Answer]) -> Answer:
        return self.retry.call(self.name, lambda: self._once(key, action))

    def _once(self, key: str, action: Callable[[], Answer]) -> Answer:
        """One try of a call, with boto's errors translated."""
        try:
            return action()
        except (LookupError, ValueError, TypeError, OverflowError) as error:  # boto does not translate these
            message = f"{self.name}: {key}: this is not an answer of an S3 API"
            raise StoreError(message, NO_ANSWER) from error
        except ClientError as error:
            if _code(error) in _MISSING:
                raise ObjectMissingError(self.name, key) from error
            raise self._refused(key, error) from error
        except EndpointConnectionError as error:
            message = f"{self.name}: {self.settings.endpoint} cannot be reached"
            raise StoreError(message, "is the store running, and the endpoint right?") from error
        except SSLError as error:
            message = f"{self.name}: {self.settings.endpoint}: TLS failed: {error}"
            raise StoreError(message, "set ca_file to the certificate of its CA", permanent=True) from error
        except (BotoCoreError, HTTPError) as error:  # boto does not catch the latter in the body of an answer
            raise StoreError(f"{self.name}: {key}: {error}") from error

    def _refused(self, key: str, error: ClientError) -> StoreError:
        code, status = _code(error), _status(error)
        text = str(error.response.get("Error", {}).get("Message", ""))
        permanent = 400 <= status < 500 and status not in (408, 429) and code not in _DAMAGED
        message = f"{self.name}: {key}: {code} ({status}) {text}".rstrip()
        permanent = permanent or code == "NotImplemented"
        hint = HINTS.get(code) or HINTS.get(str(status), "")
        if region := error.response.get("Error", {}).get("Region"):
            hint = f"the store is in another region: set 'region: {region}'"
        wait = _retry_after(error)
        denied = status == 403
        whose = self.name if denied and code in _MAY_NOT else ""
        return StoreError(message, hint, permanent=permanent, denied=denied, retry_after=wait, whose=whose)


def read_credentials(path: Path) -> tuple[str, SecretStr]:
    """access_key and secret_key from an INI file that others must not read. Raises UsageError."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        if found := exposed(path, stat.S_IRWXO):
            readable = found.place == path and "read" in found.what
            what = ": all users can read these credentials" if readable else f" {found.what}"
            raise UsageError(f"{found.place}{what}", found.cure)
        parser.read_string(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", "it must hold access_key and secret_key") from error
    except (configparser.Error, UnicodeDecodeError):
        # The parser's own message would quote the line, and so the secret.
        parser.clear()
    for section in parser.values():
        if "access_key" in section and "secret_key" in section:
            return section["access_key"], SecretStr(section["secret_key"])
    raise UsageError(
        f"{path}: access_key or secret_key is missing", "[default], access_key = …, secret_key = …"
    )


def _md5(data: Buffer) -> bytes:
    digest = hashlib.md5(usedforsecurity=False)
    for piece in pieces(data):
        digest.update(piece)
    return digest.digest()


def _code(error: BaseException | None) -> str:
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _etag(answer: dict[str, Any]) -> str:
    return str(answer.get("ETag", "")).strip('"').lower()


def _is_whole(answer: dict[str, Any], data: bytes, knows_md5: bool) -> bool:
    """Whether the length is the one in the answer, and, for a whole object, the MD5 matches."""
    span = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", answer.get("ContentRange", ""))
    if span:
        first, last, size = map(int, span.groups())
        if len(data) != last - first + 1 or len(data) != size:
            return len(data) == last - first + 1
    etag = _etag(answer)
    if not knows_md5 or is_encrypted(answer) or len(etag) != _MD5_DIGITS:
        return True
    return hashlib.md5(data, usedforsecurity=False).hexdigest() == etag


def _retry_after(error: ClientError) -> float:
    """Seconds of the Retry-After header (RFC 9110, 10.2.3); its other form, a date, is not used by stores."""
    text = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("retry-after", "")
    return float(text) if text.isdecimal() else 0
