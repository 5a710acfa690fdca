"""From the files of a host to leitstand.yml, by the exporter's own reading."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from exporter.inventory.kinds import KINDS
from exporter.inventory.readers import READERS
from exporter.inventory.source import Context
from exporter.roots import Roots
from exporter.tree import Tree
from tests.rollout.suggest.conftest import Fleet

FILES = {
    "/etc/nginx/nginx.conf": """
http {
  server { listen 80 default_server; server_name _; root /var/www/html; }
  server { listen 80; server_name blog.example.org www.example.org; return 301 https://$host; }
  server { listen 443 ssl; server_name blog.example.org; root /var/www/blog; ssl_certificate /c.pem; }
  server { listen 443 ssl; server_name club.example.org; root /srv/club; ssl_certificate /c.pem; }
}
""",
    "/var/www/html/index.html": "<title>Welcome to nginx!</title>",
    "/var/www/blog/wp-includes/version.php": "<?php\n$wp_version = '6.8';",
    "/var/www/blog/wp-config.php": "<?php define('DB_NAME', 'blog'); define('DB_PASSWORD', 'hunter2');",
    "/srv/club/index.html": "<title>The club</title>",
    "/etc/dovecot/dovecot.conf": "mail_location = maildir:/srv/vmail/%d/%n\n",
    "/srv/vmail/example.org/anna/new/1": "mail",
}


def test_a_host_with_two_sites_and_mail_is_covered_by_one_command(
    fleet: Callable[..., Fleet], tmp_path: Path
) -> None:
    root = tmp_path / "root"
    for name, text in FILES.items():
        (root / name.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        (root / name.lstrip("/")).write_text(text)
    context = Context(Roots(root / "proc", root / "sys", root), Tree(root), time.time())
    items: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    for source in ("web", "mail"):
        for kind, fields in READERS[source](context).items:
            items[kind].append(dict(fields))
    assert "hunter2" not in json.dumps(items)
    one = fleet()
    one.has("web1", items)
    one.has("db1", {})
    assert one("--write")[0] == 0
    assert one.check()[0] == 0
    written = yaml.safe_load(one.config.read_text())
    assert written["services"] == {
        "blog.example.org": {
            "name": "blog.example.org", "url": "https://blog.example.org/", "hosts": ["web1"],
        },
        "club.example.org": {
            "name": "club.example.org", "url": "https://club.example.org/", "expect": "The club",
            "hosts": ["web1"],
        },
    }  # fmt: skip
    assert {name: job["sources"] for name, job in written["backups"].items()} == {
        "web1-club": [{"files": "/srv/club"}],
        "web1-blog": [{"files": "/var/www/blog"}, {"mysql": "blog"}],
        "web1-mail": [{"files": "/srv/vmail"}],
    }
