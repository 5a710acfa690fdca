"""Ansible module: wait until servers answer as they should, all in one run. Changes nothing."""

from __future__ import annotations

import http.client
import ssl
import time
from typing import Any
from urllib.parse import urlsplit

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: leitstand_answers
short_description: The proof at the end of a role
description:
  - Asks each of C(servers) until its status is one of C(status) and its answer contains all of C(contains).
  - A request may take 3 s. When C(seconds) have passed it fails and names the first that does not answer so.
options:
  servers:
    description:
      - "Keys: url, name (for the message), contains, status, host (header), ca, cert, key (files for TLS),
        otherwise (the message if it answers something else)."
    type: list
    elements: dict
    required: true
  seconds: {description: How long they may take together., type: int, default: 20}
"""
_REQUEST = 3.0  # seconds
_PAUSE = 0.2
Server = dict  # of strings


def complaint(server: Server) -> str:
    """What is wrong with its answer now; empty if nothing is."""
    try:
        status, text = answer(server)
    except (OSError, http.client.HTTPException) as error:
        return f"does not answer at {server['url']}: {error}"
    if status not in server.get("status", [200]):
        return f"answers with status {status} at {server['url']}"
    if all(part in text for part in server.get("contains", [])):
        return ""
    return str(server.get("otherwise", f"answers something else at {server['url']}"))


def answer(server: Server) -> tuple[int, str]:
    """Status and body. Raises OSError, HTTPException."""
    url = urlsplit(server["url"])
    headers = {"Host": server["host"]} if server.get("host") else {}
    connection = connect(server, url.hostname or "", url.port)
    try:
        connection.request("GET", f"{url.path or '/'}{f'?{url.query}' if url.query else ''}", headers=headers)
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    finally:
        connection.close()


def connect(server: Server, host: str, port: int | None) -> http.client.HTTPConnection:
    """A connection, with its certificates if it has some."""
    if not server["url"].startswith("https:"):
        return http.client.HTTPConnection(host, port, timeout=_REQUEST)
    context = ssl.create_default_context(cafile=server.get("ca"))
    if server.get("cert"):
        context.load_cert_chain(server["cert"], server["key"])
    return http.client.HTTPSConnection(host, port, timeout=_REQUEST, context=context)


def main() -> None:
    """Run as a module."""
    arguments: dict[str, Any] = {
        "servers": {"type": "list", "elements": "dict", "required": True},
        "seconds": {"type": "int", "default": 20},
    }
    module = AnsibleModule(arguments, supports_check_mode=True)
    end = time.monotonic() + module.params["seconds"]
    for server in module.params["servers"]:
        while found := complaint(server):
            if time.monotonic() > end:
                module.fail_json(msg=f"{server['name']} {found}")
            time.sleep(_PAUSE)
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
