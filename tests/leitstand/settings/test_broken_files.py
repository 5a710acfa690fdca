"""Each file under broken/ gives exactly the messages in its .expected file, in a newcomer's words."""

import functools
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from leitstand.settings.config import ConfigError, check, load_document, owners, read, warnings
from leitstand.settings.fleet import Fleet
from leitstand.settings.problems import Problem

HERE = Path(__file__).parent
BROKEN = sorted(path for path in (HERE / "broken").iterdir() if path.suffix != ".expected")
GOOD = sorted((HERE / "good").iterdir())
COMPLETE = (HERE / "good" / "complete.yml").read_text()
# Words of pydantic, PyYAML and Python that tell a newcomer nothing.
JARGON = re.compile(
    r"input should|extra inputs|valid (string|integer|dictionary|boolean)|pydantic|value error|nonetype"
    r"|(?<!!!)\b(dict|str|int)\b|discriminat"
    r"|\btag '(?!!)|scalar|block mapping|simple key|\bstream\b|token|traceback|<class"
    r"|_type\b|_parsing\b|sequence|serialize|validat|errno|(?-i:\bNone\b)",
    re.IGNORECASE,
)


def problems_of(source: Path) -> list[Problem]:
    try:
        return check(load_document(source))
    except ConfigError as error:
        return error.problems


@functools.cache
def told(source: Path, folder: Path) -> list[str]:
    return [str(problem).replace(f"{folder}/", "") for problem in problems_of(source)]


def test_the_corpus_is_large_and_each_broken_file_has_its_messages():
    assert len(BROKEN) >= 100
    assert {path.with_suffix(".expected") for path in BROKEN} == set((HERE / "broken").glob("*.expected"))


@pytest.mark.parametrize("source", BROKEN, ids=lambda path: path.name)
def test_a_broken_file_gives_exactly_these_messages(source):
    expected = source.with_suffix(".expected").read_text().splitlines()
    assert told(source, source.parent) == expected
    assert expected


@pytest.mark.parametrize("source", BROKEN, ids=lambda path: path.name)
def test_a_message_names_file_and_line_and_holds_no_jargon_and_no_secret(source):
    for line in told(source, source.parent):
        assert re.match(r"[\w./-]+(:[1-9]\d*)?: ", line)
        assert not JARGON.search(line.split(": ", 1)[1]), line
        assert "geheim" not in line


@pytest.mark.parametrize("source", GOOD, ids=lambda path: path.name)
def test_a_good_file_gives_no_message(source):
    assert problems_of(source) == []


def test_a_good_file_is_validated_once_by_each_owner(monkeypatch):
    validated = []
    for owner in owners():
        validate = owner.model_validate  # bound to its class
        monkeypatch.setattr(
            owner, "model_validate", lambda data, of=validate: validated.append(of) or of(data)
        )
    document = load_document(HERE / "good" / "complete.yml")
    assert check(document) + warnings(document) != [], "warned of files that are not there"
    for owner in owners():
        read(document, owner)
    assert len(validated) == len(set(validated)) == len(owners())


def test_a_file_of_a_windows_editor_is_read(tmp_path):
    file = tmp_path / "leitstand.yml"
    file.write_bytes(b"\xef\xbb\xbfhosts:\r\n  web1: {address: 192.0.2.11}\r\n")
    assert problems_of(file) == []


def test_no_is_a_text_in_yaml_1_2_and_a_name_may_look_like_a_number():
    document = load_document(HERE / "good" / "complete.yml")
    assert document.data["services"]["wiki"]["name"] == "no"
    assert document.data["hosts"].keys() == {"web1", "web-2.example.org", "3"}
    assert document.data["backups"]["website"]["schedule"] == "daily 03:00"


def test_the_own_settings_of_a_host_override_merged_ones():
    fleet = read(load_document(HERE / "good" / "anchors.yml"), Fleet)
    assert [str(host.address) for host in fleet.hosts.values()] == ["192.0.2.11", "192.0.2.12"]
    assert [host.exporter_port for host in fleet.hosts.values()] == [9816, 9816]


def test_a_program_that_reads_its_own_sections_refuses_a_misspelt_section_too(tmp_path):
    file = tmp_path / "leitstand.yml"
    file.write_text("host: {}\n")
    with pytest.raises(ConfigError, match="host: unknown section; did you mean 'hosts'"):
        read(load_document(file), Fleet)


def test_problems_come_sorted_by_file_and_line():
    found = problems_of(HERE / "broken" / "problems-in-two-files")
    assert len(found) > 1
    assert found == sorted(found, key=lambda problem: (problem.file, problem.line))


AWKWARD = [
    "null",
    "no",
    "true",
    "5",
    "-1",
    "1.5",
    "1e400",
    ".nan",
    "[]",
    "{}",
    "[1,[2]]",
    "{a:}",
    "'",
    '"',
    "*x",
    "&x",
    "!x",
    "!!binary",
    "!!int",
    "!!timestamp",
    "|",
    "-",
    "?",
    "<<",
    "http://[",
    "0x",
    "{{x}}",
    "%",
    "@",
    "---",
    "...",
    "#",
    '"\\0"',
    '"\\ud800"',
]
LONG = ["", "\t", "!x y", "- a", "<<: 5", "x" * 5000, "9" * 5000, "\0"]
awkward = st.sampled_from([*AWKWARD, *LONG]) | st.text(max_size=12)
WORDS = re.findall(r"[\w.-]+", COMPLETE)
# What may happen to one line; given the line, an awkward text, a column and a word of another line.
MUTATIONS = {
    "remove": lambda line, text, column, word: "",
    "repeat": lambda line, text, column, word: f"{line}\n{line}",
    "indent": lambda line, text, column, word: " " * (column % 7) + line.lstrip(),
    "tab": lambda line, text, column, word: "\t" + line.lstrip(),
    "value": lambda line, text, column, word: f"{line.partition(':')[0]}: {text}",
    "key": lambda line, text, column, word: re.sub(r"^( *)[^:]*", lambda found: found[1] + text, line),
    "insert": lambda line, text, column, word: line[:column] + text + line[column:],
    "cut": lambda line, text, column, word: line[:column],
    "join": lambda line, text, column, word: line.replace(": ", ":", 1),
    "swap": lambda line, text, column, word: re.sub(r"[\w.-]+", word, line, count=1),
}


@st.composite
def mutated(draw: st.DrawFn) -> str:
    lines = COMPLETE.splitlines()
    for _ in range(draw(st.integers(1, 3))):
        index = draw(st.integers(1, len(lines) - 1))
        mutate = MUTATIONS[draw(st.sampled_from(sorted(MUTATIONS)))]
        column = draw(st.integers(0, len(lines[index])))
        lines[index] = mutate(lines[index], draw(awkward), column, draw(st.sampled_from(WORDS)))
    return "\n".join(lines) + "\n"


@settings(
    max_examples=300,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(text=mutated())
@example(text="hosts:\n  web1: {address: 192.0.2.11, exporter_port: 9" + "9" * 5000 + "}\n")
@example(text="services:\n  a: {name: a, url: 'http://a', expect: '" + "(" * 3000 + "'}\n")
@example(text='hosts: {"\\ud800": {address: "\\ud800"}}\n')
def test_every_mistake_is_reported_with_file_and_line_and_without_jargon(tmp_path, text):
    file = tmp_path / "leitstand.yml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    for problem in problems_of(file):
        assert problem.file == file
        assert problem.line >= 1 or problem.what == "contains no settings"
        assert problem.line <= text.count("\n") + 1
        assert not JARGON.search(problem.what), problem
        assert "\n" not in str(problem)
        assert len(str(problem)) < 1500
