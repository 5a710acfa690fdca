"""The questions of ``leitstand init``. Secrets are never asked for: only the files that will hold them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from leitstand.languages import LANGUAGES
from rollout.init.machine import Machine

Answers = Mapping[str, str]
_LOCAL = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True)
class Question:
    """``sample`` is a valid answer, used for one that is not given yet and for a default that is refused.

    ``default`` None means that an answer is needed; an empty one means that there may be none.
    """

    key: str
    asks: str
    explains: str
    sample: str
    default: Callable[[Machine], str] | str | None = None
    applies: Callable[[Answers], bool] = lambda answers: True
    choices: tuple[str, ...] = ()

    @property
    def option(self) -> str:
        """The option that answers it."""
        return f"--{self.key.replace('_', '-')}"

    def default_on(self, machine: Machine) -> str | None:
        """The default answer on a machine."""
        return self.default(machine) if callable(self.default) else self.default


def _has_login(answers: Answers) -> bool:
    return bool(answers["mail_user"])


def _sends_elsewhere(answers: Answers) -> bool:
    return answers["smarthost"].rpartition(":")[0] not in _LOCAL


def _uses_s3(answers: Answers) -> bool:
    return answers["store"] == "s3"


def _uses_a_folder(answers: Answers) -> bool:
    return answers["store"] == "folder"


QUESTIONS = (
    Question("site_name", "Organisation", "Name of your organisation, as the public knows it.", "Leitstand"),
    Question(
        "languages",
        "Languages",
        f"Languages of the status page, the main one first; there are: {', '.join(LANGUAGES)}.",
        "en",
        lambda machine: machine.language,
    ),
    Question(
        "time_zone",
        "Time zone",
        "Days, schedules and times in mails follow it.",
        "UTC",
        lambda machine: machine.time_zone,
    ),
    Question(
        "host",
        "Name of this machine",
        "Its name in alerts, on dashboards and in leitstand.yml.",
        "control",
        lambda machine: machine.name,
    ),
    Question(
        "address",
        "Address of this machine",
        "The IP address by which your other machines see it; 127.0.0.1 if there are none.",
        "127.0.0.1",
        lambda machine: machine.address,
    ),
    Question(
        "page_url",
        "URL of the status page",
        "Where the public will find it, such as https://status.example.org/ (with https, a certificate is "
        "requested from a public CA). May be empty.",
        "https://status.example.org/",
        "",
    ),
    Question("mail", "Mail address", "Where alerts are sent.", "admin@example.org"),
    Question(
        "smarthost",
        "Mail server",
        "Server and port that take these mails, such as mail.example.org:587.",
        "localhost:25",
        "localhost:25",
    ),
    Question(
        "mail_user",
        "User at the mail server",
        "User name to log in with there. May be empty.",
        "",
        "",
        _sends_elsewhere,
    ),
    Question(
        "mail_password_file",
        "File with its password",
        "Only its name is asked; write the password to it yourself.",
        "/etc/leitstand/mail-password",
        "/etc/leitstand/mail-password",
        lambda answers: _sends_elsewhere(answers) and _has_login(answers),
    ),
    Question(
        "service_url",
        "First service",
        "URL of a web site of yours, as visitors request it: it is probed and shown on the status page.",
        "https://www.example.org/",
    ),
    Question(
        "service_text",
        "Text on its page",
        "Words that the page contains while it works. May be empty.",
        "",
        "",
    ),
    Question(
        "store",
        "Store for backups",
        "'folder' (a disk or share of this machine) or 's3' (OpenStack Swift or another S3).",
        "folder",
        "folder",
        choices=("folder", "s3"),
    ),
    Question(
        "folder",
        "Folder",
        "Folder for the backups, best on another disk than the data.",
        "/srv/backups",
        "/srv/backups",
        _uses_a_folder,
    ),
    Question(
        "s3_endpoint",
        "Endpoint",
        "URL of the S3 server, without the bucket.",
        "https://s3.example.org",
        None,
        _uses_s3,
    ),
    Question(
        "s3_bucket", "Bucket", "Made by the first backup if it does not exist.", "backups", None, _uses_s3
    ),
    Question(
        "s3_credentials_file",
        "File with the credentials",
        "Only its name is asked; write access_key and secret_key to it yourself (ini file, mode 0600).",
        "/etc/leitstand/s3.ini",
        "/etc/leitstand/s3.ini",
        _uses_s3,
    ),
    Question(
        "grafana",
        "Install Grafana (yes or no)",
        "Dashboards, on loopback; it comes from the package repository of its makers.",
        "no",
        "no",
        choices=("yes", "no"),
    ),
)
SAMPLES = {question.key: question.sample for question in QUESTIONS}


def files_to_write(answers: Answers) -> Iterator[str]:
    """The files that must be written by hand, as they hold secrets."""
    for question in QUESTIONS:
        if question.key.endswith("_file") and question.key in answers:
            yield answers[question.key]
