"""A difference as text for a terminal, and as a comment of a pull request."""

import re
from collections.abc import Iterator

from leitstand.text import visible
from rollout.difference.changes import Difference

MARK = "<!-- leitstand deploy diff -->"  # by which a workflow finds its earlier comment
LONGEST = 60_000  # characters; a comment on GitHub holds 65,536
_CUT = "… cut; the rest: leitstand deploy diff"


def lines(found: Difference) -> Iterator[str]:
    """The difference, a line each, without letters that steer a terminal."""
    if found.note:
        yield visible(f"note: {found.note}")
    for section, changes in found.sections.items():
        yield visible(f"{section}:")
        yield from (visible(f"{change}") for change in changes)
    if found.files:
        yield "rendered files:"
        yield from (visible(f"~ {file.path} +{file.added} -{file.removed}") for file in found.files)
    if not found.sections and not found.files:
        yield "no change"


def markdown(found: Difference) -> str:
    """A comment: a summary and one fenced block, which neither links, mentions nor images can leave."""
    shown, size = [], 0
    for line in lines(found):
        size += len(line) + 1
        if size > LONGEST:
            shown.append(_CUT)
            break
        shown.append(line)
    text = "\n".join(shown)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    count = sum(len(changes) for changes in found.sections.values())
    summary = f"{count} changes of settings, rules and targets, {len(found.files)} rendered files"
    return f"{MARK}\n**leitstand deploy diff**: {summary}\n\n{fence}diff\n{text}\n{fence}\n"
