"""Explain the errors of a YAML parser to the author of the file."""

import re
from pathlib import Path

import yaml

from leitstand.settings.problems import Problem

# Pattern for the parser's message (context, problem); whether to use the context's position; message; hint.
_MEANINGS = (
    (
        r"while scanning a quoted scalar.*end of stream",
        True,
        "this quote is never closed",
        "add the closing quote",
    ),
    (r"escape (character|sequence)", False, "a backslash inside double quotes", "use single quotes: '\\d+'"),
    (r"flow node.*stream end", False, "the file ends inside a '[' or '{'", "close each '[' and '{'"),
    (r"found '[]},]'", False, "an extra bracket or comma", "close each '[' and '{' once"),
    (r"but found '<scalar>'", False, "a text in the wrong place", "put quotes around the whole text"),
    (r"while parsing a flow sequence", True, "this '[' has no matching ']'", "close it, with commas between"),
    (r"while parsing a flow mapping", True, "this '{' has no matching '}'", "close it, with commas between"),
    (r"while parsing a flow node", False, "an extra bracket or comma", "close each '[' and '{' once"),
    (
        r"mapping values are not allowed",
        False,
        "a ': ' in the wrong place",
        "quote a text that contains ': '; or the line above lacks its ':' or has another indentation",
    ),
    (
        r"could not find expected ':'",
        True,
        "this line has no ': '",
        "write 'key: value', with a space after the colon",
    ),
    (
        r"sequence entries are not allowed",
        False,
        "a '- ' in the wrong place",
        "put each '- ' on a separate line below the key",
    ),
    (r"alias", False, "a text that begins with '*' needs quotes", 'write "*…"'),
    (r"scanning an anchor", False, "a text that begins with '&' needs quotes", 'write "&…"'),
    (
        r"cannot start any token",
        False,
        "a text cannot begin with this character",
        "put quotes around the text",
    ),
    (
        r"chomping or indentation|block scalar",
        False,
        "a text that begins with '|' or '>' needs quotes",
        "put quotes around the text",
    ),
    (
        r"single document|document start",
        False,
        "a second document begins here",
        "a file has only one document",
    ),
    (
        r"while parsing a block|block end",
        False,
        "this line does not match the lines above it",
        "start lines that belong together in the same column; close each quote",
    ),
)
_COLON_IN_TEXT = ("a ':' in an unquoted text", "put quotes around the whole text")
_UNFINISHED_MERGE = ("an unfinished merge", "keep one of the two versions")
# It is often copied with lines from a web page or a mail.
NO_BREAK_SPACE = ("a no-break space, which only looks like a space", "write an ordinary space")


def syntax_problem(file: Path, text: str, error: yaml.YAMLError) -> Problem:
    """The parser's error about ``text``, explained for a newcomer."""
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return Problem(file, line, "", "an invisible control character", "remove it")
    mark = getattr(error, "problem_mark", None)
    context, said = getattr(error, "context", None), getattr(error, "problem", None)
    if mark and (problem := _seen_in_line(file, text, mark)):
        return problem
    if mark and "flow" in (context or "") and _is_colon_in_text(_line(text, mark.line), mark.column):
        return Problem(file, mark.line + 1, "", *_COLON_IN_TEXT)
    for pattern, at_context, what, hint in _MEANINGS:
        if re.search(pattern, f"{context or ''} {said or ''}"):
            place = (at_context and getattr(error, "context_mark", None)) or mark
            return Problem(file, place.line + 1 if place else 1, "", what, hint)
    return Problem(
        file, mark.line + 1 if mark else 1, "", "this is not YAML", "check indentation, quotes and colons"
    )


def _seen_in_line(file: Path, text: str, mark: yaml.Mark) -> Problem | None:
    """A problem visible in the line or the one before it, independent of the parser's message."""
    for number in (mark.line, mark.line - 1):
        line = _line(text, number)
        if re.match(r"(<{7}|={7}|>{7})( |$)", line):
            return Problem(file, number + 1, "", *_UNFINISHED_MERGE)
        if "\u00a0" in line:
            return Problem(file, number + 1, "", *NO_BREAK_SPACE)
    line = _line(text, mark.line)
    if re.match(r" *\t", line):
        return Problem(file, mark.line + 1, "", "a tab at the beginning of the line", "indent with spaces")
    if line[mark.column : mark.column + 1] == "\t":
        return Problem(file, mark.line + 1, "", "a tab where only spaces are allowed", "write a space")
    return None


def _is_colon_in_text(line: str, column: int) -> bool:
    """Whether a colon is in the value of a setting in braces: ``{name: Racing: team, address: ::1}``."""
    setting = re.split(r"[{\[,]", line[:column])[-1]
    return line[column : column + 1] == ":" and (": " in setting or line[column : column + 2] == "::")


def _line(text: str, index: int) -> str:
    lines = text.splitlines()
    return lines[index] if 0 <= index < len(lines) else ""
