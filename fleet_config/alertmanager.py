"""alertmanager.yml from the ``alerts:`` section. Secrets are named by file; none is read here.

Keys: https://prometheus.io/docs/alerting/latest/configuration/. ``url_file`` needs Alertmanager 0.26 or newer
(Debian 13); Debian 12's 0.25 knows plain URLs only.
"""

from pathlib import Path
from typing import Any

from fleet_config.mail_times import time_template
from fleet_config.output import Files, read_yaml, yaml_text
from leitstand.settings.fleet import Alerts, Fleet, Mail

Receiver = dict[str, Any]


def alertmanager_files(fleet: Fleet, share: Path) -> Files:
    """``alertmanager.yml`` and its templates. ``share`` holds both as shipped."""
    configuration = read_yaml(share / "alertmanager.yml")
    ways = {"team": _team(fleet.alerts), "watchdog": _watchdog(fleet.alerts)}
    for receiver in configuration["receivers"]:
        receiver |= ways.get(receiver["name"], {})
    templates = {
        f"templates/{path.name}": path.read_text(encoding="utf-8")
        for path in sorted((share / "templates").glob("*.tmpl"))
    }
    templates["templates/leitstand.tmpl"] += time_template(fleet.site.zone)
    return {**templates, "alertmanager.yml": yaml_text(configuration)}


def reaches_someone(alerts: Alerts) -> bool:
    """Whether any alert reaches a person."""
    return bool(_team(alerts))


def needs_url_file(alerts: Alerts) -> bool:
    """Whether the configuration names a URL by file, which Alertmanager knows from 0.26 on."""
    return alerts.webhook_url_file is not None or alerts.watchdog_url_file is not None


def _team(alerts: Alerts) -> Receiver:
    webhooks = _webhooks(alerts.webhook_url, alerts.webhook_url_file, send_resolved=True)
    mails = [_mail(alerts.mail)] if alerts.mail else []
    return {key: ways for key, ways in (("email_configs", mails), ("webhook_configs", webhooks)) if ways}


def _watchdog(alerts: Alerts) -> Receiver:
    webhooks = _webhooks(alerts.watchdog_url, alerts.watchdog_url_file, send_resolved=False)
    return {"webhook_configs": webhooks} if webhooks else {}


def _webhooks(url: str | None, url_file: Path | None, *, send_resolved: bool) -> list[dict[str, Any]]:
    named = [("url", url), ("url_file", None if url_file is None else str(url_file))]
    return [{key: value, "send_resolved": send_resolved} for key, value in named if value is not None]


def _mail(mail: Mail) -> dict[str, Any]:
    login = {
        "auth_username": mail.username,
        "auth_password_file": mail.password_file and str(mail.password_file),
    }
    return {
        "to": ", ".join(mail.to),
        "from": mail.sender,
        "smarthost": mail.smarthost,
        "require_tls": mail.needs_starttls,
        "send_resolved": True,
        "headers": {"Subject": '{{ template "leitstand.subject" . }}'},
        "text": '{{ template "leitstand.text" . }}',
        # Without this, Alertmanager adds its own HTML part, which mail programs would show instead.
        "html": "",
        **{key: value for key, value in login.items() if value},
        **({"tls_config": {"ca_file": str(mail.ca_file)}} if mail.ca_file else {}),
    }
