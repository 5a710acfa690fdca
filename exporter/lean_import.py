"""Import prometheus_client's data model without its HTTP server, TLS and push gateway: 8 MiB of memory.

The package's ``__init__`` loads all of them, even if only one of its modules is needed.
"""

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from threading import RLock
from types import ModuleType
from typing import Any

_LOADING = RLock()


class _Unloaded(ModuleType):
    """A package whose modules can be imported; the first use of one of its own names loads it in full."""

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and find_spec(f"{self.__name__}.{name}"):
            return import_module(f"{self.__name__}.{name}")
        with _LOADING:
            if self.__class__ is _Unloaded:
                self.__class__ = ModuleType  # type: ignore[assignment]
                self.__spec__.loader.exec_module(self)  # type: ignore[union-attr]
        return getattr(self, name)


def import_leanly(package: str) -> None:
    """Defer loading a package that is not loaded yet. If it is not installed, importing it fails as usual."""
    if package not in sys.modules and (spec := find_spec(package)) is not None:
        module = module_from_spec(spec)
        module.__class__ = _Unloaded
        sys.modules[package] = module
