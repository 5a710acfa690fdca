"""The kinds of stores, by their settings."""

from pathlib import Path

from orchestrator.config.stores import FolderSettings, S3Settings
from orchestrator.stores.folder import FolderStore
from orchestrator.stores.store import ObjectInfo, ObjectMissingError, Store, StoreError, get_small

__all__ = ["ObjectInfo", "ObjectMissingError", "Store", "StoreError", "get_small", "open_store"]


def open_store(
    name: str, settings: FolderSettings | S3Settings, *, is_new: bool = True, credit: Path | None = None
) -> Store:
    """The store these settings describe; nothing is sent yet. Raises UsageError for unusable credentials.

    If the store ``is_new``, its bucket is created; later a missing one is an error. ``credit`` is the file
    through which all processes of this host share its ``upload_limit``.
    """
    match settings:
        case FolderSettings():
            return FolderStore(name, settings, credit)
        case S3Settings():
            from orchestrator.stores.s3 import S3Store  # importing boto3 takes 0.2 s: only when needed

            return S3Store(name, settings, is_new=is_new, credit=credit)
