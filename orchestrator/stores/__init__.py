"""Every kind of store, by its settings."""

from pathlib import Path

from orchestrator.config.stores import FolderSettings, S3Settings
from orchestrator.stores.folder import FolderStore
from orchestrator.stores.store import ObjectInfo, ObjectMissingError, Store, StoreError, get_small

__all__ = ["ObjectInfo", "ObjectMissingError", "Store", "StoreError", "get_small", "open_store"]


def open_store(
    name: str,
    settings: FolderSettings | S3Settings,
    *,
    is_new: bool = True,
    credit: Path | None = None,
) -> Store:
    """The store these settings describe; nothing is sent yet. Raises UsageError for unusable credentials.

    Of a store that ``is_new`` the bucket is made; later a missing one is an error. ``credit`` is the file by
    which all processes of this host keep its ``upload_limit`` together.
    """
    match settings:
        case FolderSettings():
            return FolderStore(name, settings, credit)
        case S3Settings():
            from orchestrator.stores.s3 import S3Store  # boto3 takes 0.2 s to import: only who needs it pays

            return S3Store(name, settings, is_new=is_new, credit=credit)
