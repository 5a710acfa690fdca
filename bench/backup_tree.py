"""A tree like a small web host's, the same bytes each time for one version of Python: 10,901 files, 475 MB.

10,000 source-like files (109 MB, median about 6 KB), 900 pictures (216 MB, incompressible), one SQL dump (150
MB). The words are those of Python's own library, in short runs, so that they shrink as source code does.
"""

import random
import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path

SEED = 20_260_101
SOURCES, SOURCE_BYTES = 10_000, 109_000_000
PICTURES, PICTURE_BYTES = 900, 216_000_000
DUMP_BYTES = 150_000_000
_TOKEN = re.compile(r"\w+|[^\w\s]+|\n\s*")
_LIBRARY_FILES = 120


def make(folder: Path) -> None:
    """Write the tree, unless it is there."""
    done = folder / ".done"
    if done.exists():
        return
    chance = random.Random(SEED)
    tokens = _tokens()
    for path, content in _files(chance, tokens):
        target = folder / "tree" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    with (folder / "tree/dump.sql").open("wb") as file:
        for block in _dump(chance, tokens):
            file.write(block)
    done.touch()


def _tokens() -> list[str]:
    library = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[:_LIBRARY_FILES]
    return [token for path in library for token in _TOKEN.findall(path.read_text(errors="ignore"))]


def _files(chance: random.Random, tokens: list[str]) -> Iterator[tuple[str, bytes]]:
    for number, size in enumerate(_sizes(chance, SOURCES, SOURCE_BYTES, 1.1)):
        folder = f"wp-content/plugins/{number % 97:02}/{number % 13:02}"
        suffix = ("php", "js", "css")[number % 3]
        yield f"{folder}/class-{number:05}.{suffix}", _text(chance, tokens, size)
    for number, size in enumerate(_sizes(chance, PICTURES, PICTURE_BYTES, 0.6)):
        yield (
            f"wp-content/uploads/{number % 12:02}/{number:04}.jpg",
            b"\xff\xd8\xff\xe0" + chance.randbytes(size),
        )


def _sizes(chance: random.Random, count: int, total: int, spread: float) -> list[int]:
    drawn = [chance.lognormvariate(0, spread) for _ in range(count)]
    return [max(64, round(size * total / sum(drawn))) for size in drawn]


def _text(chance: random.Random, tokens: list[str], size: int) -> bytes:
    parts, length = [], 0
    while length < size:
        start = chance.randrange(len(tokens) - 8)
        run = " ".join(tokens[start : start + chance.randint(2, 8)])
        parts.append(run)
        length += len(run) + 1
    return " ".join(parts).encode()[:size]


def _dump(chance: random.Random, tokens: list[str]) -> Iterator[bytes]:
    size = number = 0
    while size < DUMP_BYTES:
        rows = []
        for _ in range(20):
            number += 1
            words = _text(chance, tokens, 180).decode(errors="ignore").replace("\n", " ").replace("'", "")
            date = f"2026-{number % 12 + 1:02}-{number % 28 + 1:02}"
            rows.append(f"({number},'{words}','{date}','{chance.randbytes(16).hex()}')")
        line = f"INSERT INTO `wp_posts` VALUES {','.join(rows)};\n".encode()
        size += len(line)
        yield line
