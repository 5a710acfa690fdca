"""boto3 as a store uses it: signed once, sent in pieces, without retries."""

import io
import os
import threading
from functools import cache
from typing import Any, Literal

import boto3
import botocore.session
from botocore import UNSIGNED
from botocore.auth import S3SigV4Auth
from botocore.config import Config
from botocore.credentials import ReadOnlyCredentials
from botocore.handlers import add_retry_headers
from botocore.loaders import Loader
from pydantic import SecretStr

from orchestrator.archive.mapped_memory import Buffer
from orchestrator.config.stores import S3Settings
from orchestrator.stores.limit import Line

CONNECT_SECONDS = 10
CONNECTIONS = 12  # more than a run and its checks ever use at once


class Body(io.RawIOBase):
    """An object's bytes in the form that boto3 takes: a file, of which it reads only the length before
    sending.

    Its ``pieces`` are sent: boto3 would read a file in blocks of 16 KiB, thousands for each volume.
    """

    def __init__(self, data: Buffer, line: Line, sha256: str) -> None:
        self._length, self.pieces, self.sha256 = memoryview(data).nbytes, line.pieces(data), sha256

    def __len__(self) -> int:
        return self._length


class _Signer(S3SigV4Auth):
    """SigV4 with the SHA-256 that is already known, so that the body is not read again."""

    def payload(self, request: Any) -> str:
        return str(request.data.sha256)


# For each: its name in a file, in the environment, its default, its converter (botocore.configprovider).
_NO_FILES: dict[str, tuple[None, None, str | None, None]] = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
    "data_path": (None, None, None, None),
}
_SESSION = threading.Lock()  # clients are created one at a time: sessions are not thread-safe


def connect(settings: S3Settings, credentials: tuple[str, SecretStr]) -> Any:
    """A client of S3 with our own signing and sending of PutObject, whose body is a `Body`."""
    access_key, secret_key = credentials[0], credentials[1].get_secret_value()
    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": _addressing(settings), "payload_signing_enabled": True},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        connect_timeout=CONNECT_SECONDS,
        read_timeout=settings.timeout.total_seconds(),
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=CONNECTIONS,
    )
    with _SESSION:
        client = _session().client(
            "s3",
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            endpoint_url=settings.endpoint,
            region_name=settings.region,
            verify=str(settings.ca_file) if settings.ca_file else True,
            config=config,
        )
    signer = _Signer(ReadOnlyCredentials(access_key, secret_key, None), "s3", settings.region)
    _sign_and_send_puts(client, signer)
    return client


def _addressing(settings: S3Settings) -> Literal["path", "virtual"]:
    return "path" if settings.path_style else "virtual"


@cache
def _session() -> boto3.session.Session:
    """One for all stores: it keeps boto3's description of S3, which takes 0.1 s to read.

    Settings of other programs (``~/.aws``, AWS_PROFILE, AWS_DATA_PATH) are ignored.
    """
    bare = botocore.session.Session(_NO_FILES)
    own = Loader(extra_search_paths=[Loader.BUILTIN_DATA_PATH], include_default_search_paths=False)
    bare.register_component("data_loader", own)
    return boto3.session.Session(botocore_session=bare)


def _sign_and_send_puts(client: Any, signer: _Signer) -> None:
    """Let ``signer`` sign every PutObject instead of boto3, and send its body in pieces."""

    def sign(request: Any, **_: Any) -> None:
        signer.add_auth(request)

    def send(request: Any, **_: Any) -> None:
        request.body = request.body.pieces

    def stay(params: Any, **_: Any) -> None:
        # boto would redirect to another region or host, but cannot sign or send this body again.
        params["context"].setdefault("s3_redirect", {})["redirected"] = True

    client.meta.events.unregister("request-created", add_retry_headers)  # unsigned, and useless to a store
    client.meta.events.register("before-call.s3", stay)
    client.meta.events.register_first("choose-signer.s3.PutObject", lambda **_: UNSIGNED)
    client.meta.events.register_last("before-sign.s3.PutObject", sign)
    client.meta.events.register("before-send.s3.PutObject", send)
