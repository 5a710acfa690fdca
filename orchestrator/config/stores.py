"""The settings of a store in the section ``stores`` of leitstand.yml."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from leitstand.settings.models import AbsolutePath, Duration, Model
from orchestrator.config.fields import Bucket, Endpoint, Prefix, Speed


class FolderSettings(Model):
    """A folder on this host; a mounted disk or share."""

    type: Literal["folder"] = Field(description="Type of the store.")
    path: AbsolutePath = Field(description="Path of the folder; it must exist, and is never created.")
    upload_limit: Speed | None = Field(
        default=None, description="Maximum bytes per second that this host may write, such as 20MB."
    )


class S3Settings(Model):
    """A bucket of OpenStack Swift's S3 API, or of any other S3."""

    type: Literal["s3"] = Field(description="Type of the store.")
    endpoint: Endpoint = Field(description="URL of the server, without the bucket.")
    bucket: Bucket = Field(description="Name of the bucket; created by the first run if it does not exist.")
    region: str = Field(
        default="us-east-1", pattern=r"^[a-z0-9-]+$", description="Region that the server expects."
    )
    prefix: Prefix = Field(
        default="", description="Folder in the bucket for everything, such as team/backups."
    )
    path_style: bool = Field(
        default=True, description="Whether the bucket is in the path, as Swift expects, or in the host name."
    )
    credentials_file: AbsolutePath = Field(description="ini file, mode 0600, with access_key and secret_key.")
    ca_file: AbsolutePath | None = Field(
        default=None, description="PEM file of the CA that signed the endpoint's certificate."
    )
    timeout: Duration = Field(
        default="60s", validate_default=True, description="How long to wait for an answer of the server."
    )
    tries: int = Field(
        default=6, ge=1, le=20, description="How often a request is tried before the run fails."
    )
    upload_limit: Speed | None = Field(
        default=None, description="Maximum bytes per second that this host may send, such as 20MB."
    )


StoreSettings = Annotated[
    Annotated[FolderSettings, Tag("folder store")] | Annotated[S3Settings, Tag("s3 store")],
    Discriminator(
        lambda value: _store_tag(value),
        custom_error_type="store_type",
        custom_error_message="a store needs 'type: s3' or 'type: folder'",
    ),
]


def _store_tag(value: Any) -> str | None:
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return f"{kind} store" if kind in ("folder", "s3") else None


def place_of(store: FolderSettings | S3Settings) -> tuple[str, ...]:
    """A key that is equal for two stores that are the same place."""
    if isinstance(store, FolderSettings):
        return (str(store.path),)
    return store.endpoint.rstrip("/"), store.bucket, store.prefix
