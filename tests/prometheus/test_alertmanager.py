"""Who is told of what, asked from Alertmanager itself."""

import bisect
import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from click.testing import CliRunner

from fleet_config.alertmanager import alertmanager_files
from fleet_config.alerts import alerts
from fleet_config.mail_times import FIRST, time_template
from fleet_config.output import write_files
from lab.patience import patient
from lab.processes import Server, free_port, wait_until
from leitstand.errors import LeitstandError
from leitstand.settings.fleet import Fleet

HOST_DOWN = "[FIRING 1] HostDown: Host web1 does not answer"
HOST_IS_BACK = "[RESOLVED] HostDown: web1"
SERVICE_DOWN = "[FIRING 1] ServiceDown: Service website is down"
MANY_DOWN = "[FIRING 1] HostManyDown: Many hosts do not answer"
BACKUP_FAILED = "[FIRING 1] BackupFailed: A backup failed"
DISK_FULL = "[FIRING 1] DiskAlmostFull: / on web1 is almost full"


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (("alertname=HostDown", "severity=critical"), "team"),
        (("alertname=BackupFailed", "severity=warning"), "team"),
        (("alertname=RebootRequired", "severity=info"), "team"),
        (("alertname=SomethingNew",), "team"),
        (("alertname=Watchdog", "severity=none"), "watchdog"),
        (("alertname=Note", "severity=none"), "nobody"),
    ],
)
def test_each_alert_goes_to_its_receiver(labels, receiver, rendered, run):
    file = rendered / "alertmanager" / "alertmanager.yml"
    done = run("amtool", "config", "routes", "test", f"--config.file={file}", *labels)
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1] == receiver


def test_alertmanager_takes_the_rendered_configuration(rendered, run):
    done = run("amtool", "check-config", rendered / "alertmanager" / "alertmanager.yml")
    assert done.returncode == 0, done.stdout
    assert "1 templates" in done.stdout


def test_alertmanager_accepts_the_shipped_files_and_a_fleet_without_receivers(room, run, tmp_path):
    write_files(tmp_path, alertmanager_files(Fleet(), room / "alertmanager"))
    for folder in (room / "alertmanager", tmp_path):
        done = run("amtool", "check-config", folder / "alertmanager.yml")
        assert done.returncode == 0, done.stdout


def test_secrets_are_named_by_file_and_not_read(fleet_from, room, run, tmp_path):
    secret = tmp_path / "password"
    secret.write_text("opensesame")
    fleet = fleet_from(
        "alerts:\n"
        "  mail: {to: [a@example.org], sender: l@example.org, smarthost: 'mail.example.org:587',"
        f" username: leitstand, password_file: {secret}}}\n"
        f"  webhook_url_file: {secret}\n"
        f"  watchdog_url_file: {secret}\n"
    )
    files = alertmanager_files(fleet, room / "alertmanager")
    assert "opensesame" not in "".join(files.values())
    team, watchdog, _ = yaml.safe_load(files["alertmanager.yml"])["receivers"]
    assert team["email_configs"][0]["auth_password_file"] == str(secret)
    assert team["email_configs"][0]["require_tls"] is True
    assert team["webhook_configs"] == [{"url_file": str(secret), "send_resolved": True}]
    assert watchdog["webhook_configs"] == [{"url_file": str(secret), "send_resolved": False}]


@pytest.mark.parametrize(
    ("settings", "required"),
    [
        ("", False),
        (", smarthost: '[::1]:25'", False),
        (", smarthost: 'localhost:25', require_tls: true", True),
        (", smarthost: 'mail.example.org:587'", True),
        (", smarthost: 'mail.example.org:587', require_tls: false", False),
        # Encrypted from the first byte, so there is no STARTTLS to ask for.
        (", smarthost: 'mail.example.org:465'", False),
        (", smarthost: 'mail.example.org:465', require_tls: true", False),
        (", smarthost: 'localhost:465'", False),
    ],
)
def test_tls_is_asked_of_every_mail_server_but_that_of_this_machine(settings, required, fleet_from, room):
    fleet = fleet_from(f"alerts: {{mail: {{to: [a@example.org], sender: l@example.org{settings}}}}}")
    files = alertmanager_files(fleet, room / "alertmanager")
    team, *_ = yaml.safe_load(files["alertmanager.yml"])["receivers"]
    assert team["email_configs"][0]["require_tls"] is required


def test_a_mail_server_may_have_a_certificate_of_a_private_ca(fleet_from, room, run, tmp_path):
    mail = (
        "to: [a@example.org], sender: l@example.org, smarthost: 'mail.example.org:465', ca_file: /etc/ca.pem"
    )
    write_files(
        tmp_path, alertmanager_files(fleet_from(f"alerts: {{mail: {{{mail}}}}}"), room / "alertmanager")
    )
    done = run("amtool", "check-config", tmp_path / "alertmanager.yml")
    assert done.returncode == 0, done.stdout
    team, *_ = yaml.safe_load((tmp_path / "alertmanager.yml").read_text())["receivers"]
    assert team["email_configs"][0]["tls_config"] == {"ca_file": "/etc/ca.pem"}


@pytest.fixture
def mailing(fleet_from: Any, room: Any, tmp_path: Path) -> Iterator[tuple[str, "Sink"]]:
    """A running Alertmanager with our routes and no waiting times: its URL, and what arrives."""
    port, folder = free_port(), tmp_path / "mail"
    argv = [sys.executable, "-m", "lab.mail_sink", str(port), str(folder)]
    server = Server("mail", argv, tmp_path / "mail.log", port, ready_path=None)
    try:
        server.start()
        fleet = fleet_from(
            "alerts: {mail: {to: [admin@example.org], sender: leitstand@example.org,"
            f" smarthost: '127.0.0.1:{port}'}}}}\nsite: {{time_zone: Asia/Kathmandu}}"
        )
        write_files(tmp_path / "out", alertmanager_files(fleet, room / "alertmanager"))
        with alertmanager(faster(tmp_path / "out" / "alertmanager.yml"), tmp_path) as url:
            yield url, Sink(folder)
    finally:
        server.stop()


def test_a_test_alert_arrives_and_the_command_reports_it(mailing):
    url, sink = mailing
    done = CliRunner().invoke(alerts, ["test", "--alertmanager", url])
    assert "delivered by email" in done.output
    wait_until(lambda: "[FIRING 1] MailTest: Alerts arrive" in sink.subjects(), "the mail")


def test_a_test_alert_that_does_not_arrive_names_the_way_that_fails(fleet_from, room, tmp_path):
    mail = f"to: [a@example.org], sender: l@example.org, smarthost: '127.0.0.1:{free_port()}'"
    write_files(
        tmp_path, alertmanager_files(fleet_from(f"alerts: {{mail: {{{mail}}}}}"), room / "alertmanager")
    )
    with alertmanager(faster(tmp_path / "alertmanager.yml"), tmp_path) as url:
        done = CliRunner().invoke(alerts, ["test", "--alertmanager", url, "--wait", "5"])
    assert isinstance(done.exception, LeitstandError)
    assert "it fails by email" in str(done.exception)


def test_an_alertmanager_that_does_not_run_is_named():
    done = CliRunner().invoke(alerts, ["test", "--alertmanager", f"http://127.0.0.1:{free_port()}"])
    assert "Alertmanager does not answer" in str(done.exception)


def test_a_mail_names_fault_start_and_remedy_and_a_host_that_is_down_explains_the_rest(mailing):
    url, sink = mailing
    disk = alert("DiskAlmostFull", "/ on web1 is almost full", instance="web1", severity="warning")
    down = alert("HostDown", "Host web1 does not answer", instance="web1", severity="critical")
    other = alert("ServiceDown", "Service website is down", service="website", severity="critical")
    post(url, [down])
    wait_until(lambda: HOST_DOWN in sink.subjects(), HOST_DOWN)
    post(url, [disk, other])
    wait_until(lambda: SERVICE_DOWN in sink.subjects(), SERVICE_DOWN)
    # The disk of a host that is down is no news until the host is back.
    assert sink.subjects() == {HOST_DOWN, SERVICE_DOWN}
    post(url, [down | {"endsAt": now()}])
    wait_until(lambda: sink.subjects() >= {HOST_IS_BACK, DISK_FULL}, "the mails of the second turn")
    firing, resolved = sink.mail(HOST_DOWN), sink.mail(HOST_IS_BACK)
    text = plain_text(firing)
    assert text.splitlines()[0] == "FIRING"
    assert "* Host web1 does not answer\n  severity: critical\n  since:    20" in text
    assert (
        "what to do: docs/runbooks/HostDown.md, or on the leitstand host: leitstand runbook HostDown\n"
        in text
    )
    since = re.search(r"since: +(\S+ \S+) \+0545\n", text)
    assert since, "in the site's zone"
    told = datetime.fromisoformat(f"{since[1]}+05:45")
    assert abs(told - datetime.now(UTC)) < timedelta(minutes=10)
    assert "Alertmanager at http" not in text, "nobody reaches that from a mail"
    assert "until:    20" in plain_text(resolved)
    assert firing.get_body(("html",)) is None


def test_many_hosts_that_are_down_are_one_alert_and_not_many(mailing):
    url, sink = mailing
    post(url, [alert("HostManyDown", "Many hosts do not answer", severity="critical")])
    wait_until(lambda: MANY_DOWN in sink.subjects(), MANY_DOWN)
    down = alert("HostDown", "Host web1 does not answer", instance="web1", severity="critical")
    post(url, [down, alert("BackupFailed", "A backup failed", severity="warning")])
    wait_until(lambda: BACKUP_FAILED in sink.subjects(), BACKUP_FAILED)
    assert sink.subjects() == {MANY_DOWN, BACKUP_FAILED}


def test_a_subject_has_the_first_two_names_and_nothing_of_what_is_over(mailing):
    url, sink = mailing
    down = [
        alert("HostDown", f"Host web{number} does not answer", instance=f"web{number}", severity="critical")
        for number in range(1, 6)
    ]
    post(url, down)
    wait_until(lambda: "[FIRING 5] HostDown: web1, web2, +3" in sink.subjects(), "all five in one mail")
    post(url, [one | {"endsAt": now()} for one in down[:4]])
    wait_until(
        lambda: "[FIRING 1] HostDown: Host web5 does not answer" in sink.subjects(), "the one that is left"
    )
    post(url, [one | {"endsAt": now()} for one in down])
    wait_until(lambda: any("RESOLVED" in subject for subject in sink.subjects()), "the end")
    ends = {subject for subject in sink.subjects() if "RESOLVED" in subject}
    assert ends <= {"[RESOLVED] HostDown: web5", "[RESOLVED] HostDown: web1, web2, +3"}


def test_the_end_of_what_concerns_all_is_named_without_its_last_figure(mailing):
    url, sink = mailing
    many = alert("HostManyDown", "39% of all hosts do not answer", severity="critical")
    post(url, [many])
    wait_until(lambda: sink.subjects() == {"[FIRING 1] HostManyDown: 39% of all hosts do not answer"}, "it")
    post(url, [many | {"endsAt": now()}])
    wait_until(lambda: "[RESOLVED] HostManyDown" in sink.subjects(), "its end")


@dataclass(frozen=True)
class Sink:
    """The mails that arrived in a folder."""

    folder: Path

    def mails(self):
        paths = sorted(self.folder.glob("*.eml"))
        return [message_from_bytes(path.read_bytes(), policy=policy.default) for path in paths]

    def subjects(self):
        return {str(mail["Subject"]) for mail in self.mails()}

    def mail(self, subject):
        return next(mail for mail in self.mails() if mail["Subject"] == subject)


def plain_text(mail):
    return "\n".join(mail.get_body(("plain",)).get_content().splitlines())


def faster(path):
    """The same configuration without its waiting times."""
    content = yaml.safe_load(path.read_text())
    content["route"] |= {"group_wait": "500ms", "group_interval": "1s"}
    path.write_text(yaml.safe_dump(content))
    return path


@contextmanager
def alertmanager(configuration, folder) -> Iterator[str]:
    address = f"127.0.0.1:{free_port()}"
    argv = ["prometheus-alertmanager", f"--config.file={configuration}", f"--storage.path={folder}/data"]
    argv += [f"--web.listen-address={address}", "--cluster.listen-address="]
    with (folder / "log").open("wb") as log, subprocess.Popen(argv, stderr=log, stdout=log) as process:
        try:
            wait_until(lambda: answers(f"http://{address}/-/ready"), "Alertmanager")
            yield f"http://{address}"
        finally:
            process.terminate()


def alert(name, summary, **labels):
    return {
        "labels": {"alertname": name, **labels},
        "annotations": {"summary": summary, "runbook": f"docs/runbooks/{name}.md"},
        "startsAt": (datetime.now(UTC) - timedelta(minutes=5)).isoformat(),
    }


def now():
    return datetime.now(UTC).isoformat()


def post(url, alerts):
    body = json.dumps(alerts).encode()
    request = urllib.request.Request(f"{url}/api/v2/alerts", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=patient(60)) as answer:
        assert answer.status == 200


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status == 200
    except OSError:
        return False


@pytest.mark.parametrize(
    "name", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"]
)
def test_times_in_mails_are_those_of_the_site_through_every_change_of_its_clocks(name):
    zone = ZoneInfo(name)
    template = time_template(zone)
    ends = [int(end) for end in re.findall(r"lt \.Unix (\d+)", template)]
    spans = [
        (int(add), zone_name) for add, zone_name in re.findall(r"Add (-?\d+)\)[^}]*\}\} ([^{]+)", template)
    ]
    assert len(spans) == len(ends) + 1
    moments = [FIRST + timedelta(hours=7 * step) for step in range(20_000)]
    moments += [datetime.fromtimestamp(end + second, UTC) for end in ends for second in (-1, 0)]
    for moment in moments:
        add, zone_name = spans[bisect.bisect_right(ends, moment.timestamp())]
        assert timedelta(seconds=add / 1e9) == moment.astimezone(zone).utcoffset()
        assert zone_name == moment.astimezone(zone).tzname()


# What a host may put into a label: lines, letters that steer a terminal or turn the direction, and very much.
EVIL = "x\nRESOLVED\n\n* all is well\r\n-- \nBcc: a@b\x0b\x1b[2J\u2028\u202e\u0085" + "y" * 3000


def test_labels_of_a_host_add_no_lines_to_a_mail_and_do_not_fill_it(mailing):
    url, sink = mailing
    one = alert("DiskAlmostFull", f"{EVIL} is almost full", instance="web1", severity="warning", x=EVIL)
    one["annotations"] |= {"description": EVIL, "runbook_url": EVIL}
    post(url, [one])
    wait_until(sink.mails, "a mail")
    mail = sink.mails()[0]
    assert len(str(mail["Subject"])) < 500 and mail["Bcc"] is None
    lines = mail.get_body(("plain",)).get_content().splitlines()
    assert [line for line in lines if line.startswith(("*", "RESOLVED", "FIRING", "-- "))] == [
        "FIRING",
        lines[2],
        "-- ",
    ]
    assert all(line.isprintable() and len(line) < 500 for line in lines)
    assert lines[2].startswith("* x RESOLVED * all is well --  Bcc: a@b [2J y")


def test_a_flood_of_alerts_is_a_mail_that_can_be_read(mailing):
    url, sink = mailing
    post(
        url,
        [
            alert(
                "SystemdUnitFailed",
                f"unit {n} has failed",
                unit=f"{n}",
                severity="warning",
                instance=f"web{n % 3}",
            )
            for n in range(150)
        ],
    )

    # Alertmanager may send the first of them before it has all.
    def whole() -> list[str]:
        return [
            text
            for text in map(plain_text, sink.mails())
            if "These are 100 of 150, at most 50 of a host." in text
        ]

    wait_until(whole, "a mail of all")
    assert whole()[0].count("* unit") == 100


def test_a_host_with_very_many_alerts_does_not_hide_those_of_others(mailing):
    url, sink = mailing
    flood = [
        alert("SystemdUnitFailed", f"unit {n} has failed", unit=f"{n}", severity="warning", instance="evil")
        for n in range(150)
    ]
    post(url, [*flood, alert("SystemdUnitFailed", "nginx failed", severity="warning", instance="web1")])

    def whole() -> list[str]:
        return [text for text in map(plain_text, sink.mails()) if "These are 51 of 151" in text]

    wait_until(whole, "a mail of all")
    assert "* nginx failed" in whole()[0]
    assert whole()[0].count("* unit") == 50
