"""An outage of the sample web site, watched from the public's and from the admin's side."""

import email
import email.policy
import time
from collections.abc import Callable
from dataclasses import dataclass

from lab.processes import LabError, fetch
from lab.promises import page_shows
from lab.stack import Stack

Say = Callable[[str], None]


@dataclass(frozen=True)
class Turn:
    """A change of the web site, and what the public and the admin must see of it."""

    done: str
    state: str
    german: str
    english: str
    mail: str


DOWN = Turn("the web site is stopped", "down", "Ausgefallen", "Down", "FIRING")
UP = Turn("the web site is started again", "up", "Verfügbar", "Available", "RESOLVED")


def play_incident(stack: Stack, say: Say) -> int:
    """Down, page, mail, up, page, mail; each with its time. 0 when everything was seen."""
    say("waiting until the page shows the web site as up; then a simulated outage of about a minute")
    page_shows(stack, "website", UP.state)
    say(f"the page shows {UP.german} / {UP.english}")
    site = stack.servers["site"]
    play(stack, say, DOWN, site.stop)
    play(stack, say, UP, site.start)
    say("page and mail showed both the outage and the recovery")
    return 0


def play(stack: Stack, say: Say, turn: Turn, act: Callable[[], object]) -> None:
    """Make the change, and wait until the page and the mail show it."""
    say(turn.done)
    begin = time.monotonic()
    act()
    page_shows(stack, "website", turn.state)
    require_words(stack, turn.german, turn.english)
    say(f"the page shows {turn.german} / {turn.english} after {time.monotonic() - begin:.1f} s")
    show_mail(stack, say, turn.mail, begin)


def require_words(stack: Stack, german: str, english: str) -> None:
    """Wait until the page in both languages contains the word."""
    for language, word in (("de", german), ("en", english)):
        stack.wait(lambda: word in fetch(stack.url("page", f"/{language}/"))[1], f"'{word}' on the page", 30)  # noqa: B023


def find_mail(stack: Stack, *words: str) -> str | None:
    """The newest mail whose decoded subject contains every word."""
    for raw in reversed(stack.mails()):
        message = email.message_from_string(raw, policy=email.policy.default)
        subject = str(message["Subject"])
        if all(word in subject for word in words):
            body = message.get_body(("plain", "html"))
            return f"Subject: {subject}\n\n{body.get_content().strip() if body else ''}"
    return None


def show_mail(stack: Stack, say: Say, kind: str, begin: float) -> None:
    """Wait for the mail about the web site and print it."""
    stack.wait(lambda: find_mail(stack, kind, "ServiceDown"), f"the {kind} mail", 180, 0.2)
    say(f"the {kind} mail arrived after {time.monotonic() - begin:.1f} s:")
    text = find_mail(stack, kind, "ServiceDown")
    if text is None:
        raise LabError(f"the {kind} mail vanished")
    for line in text.splitlines()[:25]:
        print(f"      | {line}")
