"""Grafana, where it is installed: with our provisioning and a password of its own."""

import os
import secrets
import shutil
from pathlib import Path

from lab.processes import Server
from lab.stack import REPOSITORY, Stack

HOME = Path("/usr/share/grafana")
HOW_TO_GET_IT = "install 'grafana' from Grafana's own Debian repository, then start ./demo again"


def start_grafana(stack: Stack) -> str:
    """Start grafana-server if it is installed; returns ``URL login`` or ``- how to install it``."""
    program = shutil.which("grafana-server") or shutil.which(
        "grafana-server", path="/usr/sbin:/usr/share/grafana/bin"
    )
    if program is None:
        return f"- not installed; {HOW_TO_GET_IT}"
    password = secrets.token_urlsafe(12)
    log = stack.folder / "logs" / "grafana.log"
    server = Server("grafana", [program, f"--homepath={HOME}"], log, stack.ports["grafana"], "/api/health")
    server.environment = environment(stack, password)
    stack.servers["grafana"] = server.start()
    return f"{server.url} user admin, password {password}"


def environment(stack: Stack, password: str) -> dict[str, str]:
    """Settings as environment variables, so that no system file changes."""
    data = stack.folder / "grafana"
    return {
        "GF_SERVER_HTTP_ADDR": "127.0.0.1",
        "GF_SERVER_HTTP_PORT": str(stack.ports["grafana"]),
        "GF_PATHS_DATA": str(data),
        "GF_PATHS_LOGS": str(data / "log"),
        "GF_PATHS_PROVISIONING": str(REPOSITORY / "grafana" / "provisioning"),
        "GF_SECURITY_ADMIN_PASSWORD": password,
        "GF_ANALYTICS_REPORTING_ENABLED": "false",
        "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
        "LEITSTAND_PROMETHEUS_URL": stack.url("prometheus"),
        "LEITSTAND_DASHBOARDS": str(REPOSITORY / "grafana" / "dashboards"),
        "HOME": os.environ.get("HOME", "/"),
    }
