"""Where shard sets lie: folders, and prefixes of object stores. Importing this needs the standard library alone."""

from curate.storage.path import RemotePath, location
from curate.storage.redact import redact
from curate.storage.store import Conflict, Missing, StorageError, Store, open_store
from curate.storage.urls import UrlError, check_url, is_url, refuse_url

__all__ = ["Conflict", "Missing", "RemotePath", "StorageError", "Store", "UrlError", "check_url", "is_url", "location",
           "open_store", "redact", "refuse_url"]
