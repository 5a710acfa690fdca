"""The command: ask, check each answer, write the file once all are good."""

import grp
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from io import TextIOWrapper
from itertools import count
from pathlib import Path
from typing import Any

import click

from leitstand.errors import LeitstandError, UsageError
from leitstand.files import make_public_folder, write_atomically
from leitstand.options import INSTALLED
from leitstand.text import visible
from rollout.init.machine import Machine, this_machine
from rollout.init.questions import QUESTIONS, SAMPLES, Answers, Question, files_to_write
from rollout.init.text import leitstand_yml, problem_of

GROUP = "leitstand"
MODE = 0o640
Ask = Callable[[Question, str], str]  # a question and its default -> what was typed


def _an_option_for_each_question(command: Callable[..., Any]) -> Callable[..., Any]:
    for question in reversed(QUESTIONS):
        command = click.option(question.option, metavar="TEXT", help=question.explains)(command)
    return command


@click.command(
    epilog="""Examples:

\b
  leitstand init
  leitstand init --yes --site-name "Racing team" --mail admin@example.org \\
    --service-url https://www.example.org/
"""
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=INSTALLED,
    show_default=True,
    help="File to write.",
)
@click.option("--force", is_flag=True, help="Replace the file if it exists; the old one is kept beside it.")
@click.option("--yes", "-y", "with_defaults", is_flag=True, help="Ask nothing: use the defaults.")
@_an_option_for_each_question
def init(out: Path, force: bool, with_defaults: bool, **given: str | None) -> None:
    """Write the first leitstand.yml: this machine, a service, alerts by mail, a nightly backup of /etc.

    Asks what no option answers, and asks again if an answer is wrong. Secrets are never asked for. The file
    is written at the end, so that an interruption leaves nothing.
    """
    _require_a_free_place(out, force)
    if isinstance(sys.stdin, TextIOWrapper):  # bytes that are no text become one that is refused
        sys.stdin.reconfigure(errors="surrogateescape")
    answers = all_answers(this_machine(os.environ), given, None if with_defaults else _typed)
    _require_a_free_place(out, force)
    kept = _write(out, leitstand_yml({**SAMPLES, **answers}))
    if kept:
        click.echo(f"kept: {kept}")
    click.echo(f"written: {out}")
    for file in files_to_write(answers):
        if not Path(file).exists():
            click.echo(f"first write: {file} (mode 0600)")
    named = "" if out == INSTALLED else f" --config {shlex.quote(str(out))}"
    click.echo(f"next: leitstand apply{named}")


def all_answers(machine: Machine, given: Mapping[str, str | None], ask: Ask | None) -> Answers:
    """The answer to each question that applies: as ``given``, otherwise the first good one of ``ask``.

    Without ``ask`` the default. Raises UsageError for a wrong one that was given, or one that is needed.
    """
    answers: dict[str, str] = {}
    for question in QUESTIONS:
        value = given.get(question.key)
        if not question.applies(SAMPLES | answers):
            if value is not None:
                raise UsageError(f"{question.option} has no effect with the other answers", "leave it out")
        elif value is not None:
            answers[question.key] = _of_option(question, answers, _tidy(question, value))
        else:
            answers[question.key] = _asked(question, answers, machine, ask)
    return answers


def _wrong(question: Question, answers: Answers, value: str) -> tuple[str, str] | None:
    """What is wrong with an answer, and what to do."""
    if question.choices and value not in question.choices:
        return f"'{value}' is not one of the answers", f"one of: {', '.join(question.choices)}"
    problem = problem_of({**answers, question.key: value})
    return (problem.what, problem.hint) if problem else None


def _tidy(question: Question, value: str) -> str:
    """Without blanks at its ends; of choices the beginning will do."""
    text = value.strip()
    meant = [choice for choice in question.choices if text and choice.startswith(text.lower())]
    return meant[0] if len(meant) == 1 else text


def _of_option(question: Question, answers: Answers, value: str) -> str:
    if wrong := _wrong(question, answers, value):
        raise UsageError(f"{question.option}: {wrong[0]}", wrong[1])
    return value


def _asked(question: Question, answers: Answers, machine: Machine, ask: Ask | None) -> str:
    default = question.default_on(machine)
    if default is not None and _wrong(question, answers, default):
        default = question.sample
    if ask is None:
        if default is None:
            raise UsageError(
                f"{question.option} is needed: {question.explains}", "give it, or leave out --yes"
            )
        return default
    click.echo(f"\n{question.explains}")
    while wrong := _wrong(question, answers, value := _tidy(question, ask(question, default or ""))):
        click.echo(visible(f"  {'; '.join(filter(None, wrong))}"), err=True)
    return value


def _typed(question: Question, default: str) -> str:
    try:
        answer: str = click.prompt(question.asks, default=default, show_default=bool(default))
    except click.Abort as abort:
        if isinstance(abort.__context__, EOFError):
            hint = f"answer it with {question.option}; --yes uses the default of each that has one"
            raise UsageError(f"no answer to '{question.asks}': the input ended", hint) from None
        raise
    return answer


def _require_a_free_place(out: Path, force: bool) -> None:
    if os.path.lexists(out) and not force:
        hint = "change that file, or use --force: the old one is kept beside it"
        raise UsageError(f"{out} exists already", hint)
    folder = next(each for each in out.absolute().parents if each.exists())
    if not os.access(folder, os.W_OK):
        raise UsageError(f"{out} cannot be written by this user", "run this as root, or name another --out")


def _write(out: Path, text: str) -> Path | None:
    """Write the file; returns the place of the old one, if there was one."""
    try:
        make_public_folder(out.absolute().parent)
        kept = _keep(out) if os.path.lexists(out) else None
        write_atomically(out, text, MODE)
        if os.geteuid() == 0:
            with suppress(KeyError):  # no such group: the programs run as root
                os.chown(out, 0, grp.getgrnam(GROUP).gr_gid)
    except OSError as error:
        raise LeitstandError(
            f"{error.filename or out}: {error.strerror}", "name another file with --out"
        ) from error
    return kept


def _keep(out: Path) -> Path:
    for number in count(1):
        old = out.with_name(f"{out.name}.old-{number}")
        with suppress(FileExistsError):
            os.link(out, old, follow_symlinks=False)
            return old
    raise AssertionError
