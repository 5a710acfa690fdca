"""Which paths of a snapshot a pattern means."""

from fnmatch import fnmatchcase

from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestrator.sources.patterns import Selection

patterns = st.text("ab/*?[]!", min_size=1, max_size=8)
paths = st.lists(st.text("ab[", min_size=1, max_size=3), min_size=1, max_size=4).map("/".join)


def means(pattern: str, path: str) -> bool:
    """What the words above the patterns say, taken literally and slowly."""
    body = pattern.rstrip("/")
    for text in (path, path.partition("/")[2]):
        ends = [index for index, letter in enumerate(text) if letter == "/"]
        folders = [text[:end] for end in ends]
        for candidate in folders if pattern.endswith("/") else [*folders, text]:
            if body and candidate and _matches(body, candidate):
                return True
    return False


def _matches(body: str, path: str) -> bool:
    if "/" not in body:
        return fnmatchcase(path.rpartition("/")[2], body)
    return fnmatchcase(f"/{path}", body if body.startswith(("/", "*")) else f"/{body}")


@settings(max_examples=500, deadline=None, derandomize=True)
@given(st.lists(patterns, min_size=1, max_size=2), paths)
@example(["*/?"], "[")
def test_a_path_is_meant_as_the_rules_say(given_patterns: list[str], path: str) -> None:
    expected = any(means(pattern, path) for pattern in given_patterns)
    assert (path.encode() in Selection(given_patterns)) == expected
