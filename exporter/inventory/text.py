"""Small readers that several sources share."""

import json
import re
from typing import Any

# What a version can look like. Only this much of a file's claim gets into the inventory.
VERSION = r"[0-9A-Za-z][0-9A-Za-z.+~:_^-]{0,63}"


def load_json(text: str) -> Any:
    """The value of a JSON text. Raises ValueError also for what is nested too deep."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def search(pattern: str, text: str) -> str:
    """The first group of the first match, multi-line; empty without one."""
    found = re.search(pattern, text, re.MULTILINE)
    return found[1] if found else ""


def text_of(value: object) -> str:
    """``value`` if it is text, else the empty text: for fields of foreign JSON."""
    return value if isinstance(value, str) else ""
