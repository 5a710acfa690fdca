"""Other programs that a build uses; each failure is one line."""

import os
import sys
from collections.abc import Mapping

from leitstand import process
from leitstand.errors import LeitstandError

_LIMIT = 600.0  # seconds; a download over a slow line


def run(*argv: str, extra: Mapping[str, str] | None = None, hint: str = "") -> str:
    """What a program printed. It gets the whole environment, so that pip finds its configuration.

    Raises LeitstandError if it is missing or fails.
    """
    done = process.run(argv, timeout=_LIMIT, env={**os.environ, **(extra or {})})
    if done.status:
        raise LeitstandError(f"{' '.join(argv[:4])} … failed: {done.last_words}", hint)
    return done.stdout.decode()


def python(module: str, *arguments: str, extra: Mapping[str, str] | None = None, hint: str = "") -> str:
    """The same for a module of this environment."""
    return run(sys.executable, "-m", module, *arguments, extra=extra, hint=hint)
