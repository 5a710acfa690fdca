"""What the leitstand host's Prometheus and Alertmanager say over their HTTP APIs.

https://prometheus.io/docs/prometheus/latest/querying/api/, Alertmanager's OpenAPI (v2).
"""

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from leitstand.ask import Server, get
from leitstand.errors import LeitstandError

_SECONDS = 5.0
_LARGEST = 32 << 20
Series = dict[str, dict[str, str]]


class NoAnswerError(LeitstandError):
    """Prometheus or Alertmanager gave no usable answer: nothing is known."""


@dataclass(frozen=True)
class Monitoring:
    """The two servers on the leitstand host."""

    prometheus: Server = field(default_factory=lambda: Server("127.0.0.1", 9090))
    alertmanager: Server = field(default_factory=lambda: Server("127.0.0.1", 9093))

    def query(self, expression: str) -> list[tuple[Mapping[str, str], float]]:
        """Labels and value of each series of an instant query."""
        data = _data(_json(self.prometheus, f"/api/v1/query?query={quote(expression)}"))
        try:
            return [(series["metric"], float(series["value"][1])) for series in data["result"]]
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise NoAnswerError("Prometheus' answer is malformed") from error

    def loaded_configuration(self) -> str:
        """The hash in the rules that Prometheus has loaded; empty if there is none."""
        groups = _data(_json(self.prometheus, "/api/v1/rules?type=record")).get("groups", [])
        rules = [rule for group in groups for rule in group.get("rules", [])]
        hashes = [
            r["labels"]["configuration"] for r in rules if r.get("name") == "leitstand_configuration_info"
        ]
        return str(hashes[0]) if hashes else ""

    def alertmanager_configuration(self) -> str:
        """The configuration that Alertmanager has loaded, secrets replaced by ``<secret>``."""
        answer = _json(self.alertmanager, "/api/v2/status")
        return str(answer.get("config", {}).get("original", "")) if isinstance(answer, dict) else ""


def _data(answer: Any) -> Any:
    if not isinstance(answer, dict) or answer.get("status") != "success":
        raise NoAnswerError("Prometheus answers with an error")
    return answer["data"]


def _json(server: Server, target: str) -> Any:
    where = f"port {server.port} of the leitstand host"
    try:
        reply = get(server, target, {}, seconds=_SECONDS, silence=_SECONDS, largest=_LARGEST)
        if reply.status != http.HTTPStatus.OK:
            raise NoAnswerError(f"{where} answers with HTTP status {reply.status}")
        return json.loads(reply.body)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NoAnswerError(f"{where} does not answer: {error}") from error
