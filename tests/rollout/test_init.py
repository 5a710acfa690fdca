"""``leitstand init`` writes a file that ``leitstand check`` accepts, for any answers."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.patience import patient
from leitstand.errors import UsageError
from leitstand.settings.config import check, load_document, read
from leitstand.settings.document import document_of
from leitstand.settings.fleet import Fleet
from rollout.init.command import all_answers
from rollout.init.machine import Machine, language, time_zone
from rollout.init.questions import QUESTIONS, SAMPLES, Question
from rollout.init.text import leitstand_yml, problem_of

NEEDED = {"site_name": "Racing: team", "mail": "a@example.org", "service_url": "https://www.example.org/"}
MACHINE = Machine("web1", "192.0.2.10", "Europe/Berlin", "de")
Done = subprocess.CompletedProcess[str]


def init(here: Path, *options: str, typed: str = "", **given: str) -> Done:
    argv = [
        sys.executable,
        "-m",
        "leitstand",
        "init",
        "--out",
        str(here / "etc" / "leitstand.yml"),
        *options,
    ]
    argv += [word for key, text in given.items() for word in (f"--{key.replace('_', '-')}", text)]
    return subprocess.run(argv, capture_output=True, text=True, input=typed, timeout=patient(120), cwd=here)


def written(folder: Path) -> Path:
    return folder / "etc" / "leitstand.yml"


def test_the_defaults_of_three_answers_make_a_file_with_every_task_of_a_backup(tmp_path: Path) -> None:
    done = init(tmp_path, "--yes", **NEEDED)
    assert done.returncode == 0, done.stderr
    file = written(tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert done.stdout.splitlines()[-1] == f"next: leitstand apply --config {file}"
    checked = subprocess.run(
        [sys.executable, "-m", "leitstand", "check", "--config", str(file)], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr
    assert " is off" not in checked.stderr
    assert "is never" not in checked.stderr
    fleet = read(load_document(file), Fleet)
    (host,) = fleet.hosts.values()
    assert host.roles == ["leitstand"]
    assert fleet.site.name.in_language("en") == NEEDED["site_name"]
    assert file.read_text().count("#") > 8, "it explains itself"


def test_a_wrong_answer_is_asked_again_with_what_was_wrong(tmp_path: Path) -> None:
    answers = ["", "Racing team", "fr", "en, de", "Berlin", "UTC", "Web 1", "web1", "", ""]
    answers += ["root", "root@example.org", "mail.example.org", "mail.example.org:587", "fleet", "mail", ""]
    answers += ["www.example.org", "https://www.example.org/", "Welcome (to us)", "tape", "s3"]
    answers += [
        "s3.example.org",
        "https://s3.example.org",
        "b",
        "backups",
        "/etc/leitstand/s3.ini",
        "maybe",
        "y",
    ]
    done = init(tmp_path, typed="\n".join([*answers, ""]))
    assert done.returncode == 0, done.stderr
    told = [line.strip() for line in done.stderr.splitlines()]
    assert [line.partition(";")[0] for line in told] == [
        "a text is needed",
        "must be 'de' or 'en'",
        "no such time zone",
        "a name is 1 to 64 lower-case letters, digits, '.', '_', '-', with a letter or digit at both ends",
        "a mail address is needed",
        "a mail server is a host and a port",
        "a path must be absolute",
        "a URL begins with http:// or https:// and a host",
        "'tape' is not one of the answers",
        "an endpoint starts with http:// or https:// and a host",
        "a bucket has 3 to 63 lower-case letters, digits, '.' or '-'",
        "'maybe' is not one of the answers",
    ]
    text = written(tmp_path).read_text()
    assert check(load_document(written(tmp_path))) == []
    for part in ("languages: [en, de]", "  web1:", "username: fleet", 'expect: "Welcome \\\\(to us\\\\)"'):
        assert part in text
    assert "grafana: true" in text
    assert "first write: /etc/leitstand/s3.ini (mode 0600)" in done.stdout


TEXTS = st.one_of(
    st.text(st.characters(), max_size=40),
    st.text("ab0.:/@ -#{}[],'\"\\\n\t%&*!|>~\u00e4\ud800\x00\x7f\u2028", max_size=25),
    st.sampled_from([text for text in SAMPLES.values() if text]),
    st.sampled_from(
        ["no", "~", "1e5", "0x1f", "http://[::1]/", "/srv/a b: c #d", "a@b.c, d@e.f", "a\nb: c", "s3"]
    ),
)


def require_valid(answers: dict[str, str]) -> None:
    document = document_of(Path("leitstand.yml"), leitstand_yml({**SAMPLES, **answers}))
    assert check(document) == []
    expected = ["site", "hosts", "services", "alerts", "stores", "backups", "deploy"]
    assert [*document.data] == expected, "nothing slips in"
    assert set(document.data["site"]["name"]) == set(answers["site_name"])
    assert [*document.data["hosts"]] == [answers["host"]]


@settings(deadline=None)
@given(question=st.sampled_from(QUESTIONS), typed=TEXTS)
def test_any_text_gives_a_valid_file_or_the_question_is_asked_again(question: Question, typed: str) -> None:
    if problem_of({question.key: typed}) is None:
        require_valid({**SAMPLES, question.key: typed})


@settings(max_examples=10, deadline=None)
@given(typed=st.fixed_dictionaries({question.key: TEXTS for question in QUESTIONS}))
def test_any_texts_to_all_questions_give_a_valid_file(typed: dict[str, str]) -> None:
    asked: list[str] = []

    def ask(question: Question, default: str) -> str:
        asked.append(question.key)
        return SAMPLES[question.key] if asked.count(question.key) > 1 else typed[question.key]

    answers = all_answers(MACHINE, {}, ask)
    require_valid(dict(answers))
    assert set(asked) == set(answers)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"address": "https://192.0.2.10"},
            "--address: an address is just an IPv4 or IPv6 address or a host name",
        ),
        ({"page_url": "https://localhost/"}, "--page-url: a public CA gives no certificate for 'localhost'"),
        ({"folder": "/"}, "--folder: is in 'main', a store of this job: it would save its own snapshots"),
        ({"store": "s3"}, "--s3-endpoint is needed"),
        ({"s3_bucket": "backups"}, "--s3-bucket has no effect with the other answers"),
        ({"grafana": "maybe"}, "--grafana: 'maybe' is not one of the answers\n  hint: one of: yes, no"),
        ({"mail": ""}, "--mail: a mail address is needed"),
    ],
)
def test_a_wrong_option_is_one_error_and_writes_nothing(
    tmp_path: Path, options: dict[str, str], message: str
) -> None:
    done = init(tmp_path, "--yes", **{**NEEDED, **options})
    assert done.returncode == 2
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_without_a_terminal_a_missing_answer_names_its_option(tmp_path: Path) -> None:
    done = init(tmp_path, typed="Racing team\n")
    assert done.returncode == 2
    assert "no answer to 'Languages': the input ended\n  hint: answer it with --languages" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_bytes_that_are_no_text_are_refused_like_any_wrong_answer(tmp_path: Path) -> None:
    argv = [
        sys.executable,
        "-m",
        "leitstand",
        "init",
        "--out",
        str(written(tmp_path)),
        "--mail",
        "a@example.org",
    ]
    argv += ["--service-url", "https://www.example.org/"]
    done = subprocess.run(
        argv, capture_output=True, input=b"\xff\xfe\nRacing\n" + b"\n" * 20, timeout=patient(120)
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(b"\n") == 1
    assert "name: Racing " in written(tmp_path).read_text()


def test_an_existing_file_is_refused_before_any_question_and_kept_with_force(tmp_path: Path) -> None:
    written(tmp_path).parent.mkdir()
    written(tmp_path).write_text("hosts: {}\n")
    done = init(tmp_path, typed="Racing team\n")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "exists already\n  hint: change that file, or use --force" in done.stderr
    first = init(tmp_path, "--yes", "--force", **NEEDED)
    assert f"kept: {written(tmp_path)}.old-1" in first.stdout
    made = written(tmp_path).read_text()
    assert init(tmp_path, "--yes", "--force", **{**NEEDED, "site_name": "Other"}).returncode == 0
    kept = [Path(f"{written(tmp_path)}.old-{number}").read_text() for number in (1, 2)]
    assert kept == ["hosts: {}\n", made]
    assert "Other" in written(tmp_path).read_text()


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "leitstand", "init", "--out", str(written(tmp_path))]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(argv, bufsize=0, **pipes) as process:  # type: ignore[call-overload]
        for answer, prompt in ((None, b"Organisation: "), (b"Racing team\n", b"Languages [")):
            if answer:
                process.stdin.write(answer)
            seen = b""
            while prompt not in seen:
                piece = os.read(process.stdout.fileno(), 4096)
                assert piece, process.stderr.read()
                seen += piece
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=patient(60))
    assert process.returncode == 130
    assert errors.strip() == b"interrupted"
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named_before_any_question(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")
    argv = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        sys.executable,
        "-m",
        "leitstand",
        "init",
    ]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [*argv, "--out", "/etc/none/leitstand.yml"], capture_output=True, text=True, input="", cwd=root
    )
    assert done.returncode == 2, done.stderr
    assert "cannot be written by this user" in done.stderr
    assert done.stdout == ""


def test_secrets_are_asked_for_by_file_alone() -> None:
    secret = {
        question.key for question in QUESTIONS if "password" in question.key or "credential" in question.key
    }
    assert {key.endswith("_file") for key in secret} == {True}


def test_defaults_are_those_of_the_machine_unless_the_settings_refuse_them() -> None:
    given: dict[str, str | None] = dict(NEEDED)
    answers = all_answers(MACHINE, given, None)
    assert [answers[key] for key in ("host", "address", "time_zone", "languages")] == [
        "web1",
        "192.0.2.10",
        "Europe/Berlin",
        "de",
    ]
    strange = all_answers(Machine("localhost", "", "Mars/Base", "xx"), given, None)
    assert [strange[key] for key in ("host", "time_zone", "languages")] == ["control", "UTC", "en"]
    with pytest.raises(UsageError, match="--site-name is needed"):
        all_answers(MACHINE, {}, None)


def test_the_time_zone_is_that_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    assert time_zone(tmp_path) == "UTC"
    (tmp_path / "etc" / "timezone").write_text("Europe/Berlin\n")
    assert time_zone(tmp_path) == "Europe/Berlin"
    (tmp_path / "etc" / "localtime").symlink_to("/usr/share/zoneinfo/America/New_York")
    assert time_zone(tmp_path) == "America/New_York"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"LANG": "de_DE.UTF-8"}, "de"),
        ({"LC_ALL": "C.UTF-8", "LANG": "de_DE.UTF-8"}, "en"),
        ({"LC_ALL": "", "LANG": "de_AT@euro"}, "de"),
        ({"LANG": "fr_FR.UTF-8"}, "en"),
        ({}, "en"),
    ],
)
def test_the_language_is_the_one_of_the_user(environment: dict[str, str], expected: str) -> None:
    assert language(environment) == expected
