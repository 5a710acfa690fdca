"""The client of Prometheus' HTTP API. https://prometheus.io/docs/prometheus/latest/querying/api/

A Prometheus that is down, hung, slow or sends garbage gives an error within the query's time limit.
"""

import http.client
import json
import math
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from leitstand.ask import Server, get
from leitstand.errors import LeitstandError

LARGEST_ANSWER = 8 * 1024 * 1024


class PrometheusError(LeitstandError):
    """Prometheus gave no usable answer. The message is for the log, never for the public."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One series of an instant query; the value is finite."""

    labels: dict[str, str]
    value: float


class Prometheus:
    """Queries one Prometheus; ``timeout`` in seconds limits a query from connect to last byte."""

    def __init__(self, url: str, timeout: float = 3.0) -> None:
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        tls = ssl.create_default_context() if secure else None
        self._server = Server(parts.hostname or "", parts.port or (443 if secure else 80), tls)
        self._prefix = parts.path.rstrip("/")
        self._timeout = timeout

    def vector(self, expression: str, at: float | None = None) -> list[Sample]:
        """The samples of an instant query, now or at a time."""
        limit = f"{max(0.1, self._timeout * 2 / 3):.3f}"
        arguments = {"query": expression, "timeout": limit, **({} if at is None else {"time": f"{at:.3f}"})}
        return parse_vector(self._get(f"/api/v1/query?{urlencode(arguments)}"))

    def rule_interval(self, record: str) -> float | None:
        """Seconds between two evaluations of a recording rule; None when there is no such rule."""
        return parse_rule_interval(self._get("/api/v1/rules?type=record"), record)

    def rule_label(self, record: str, label: str) -> str:
        """A label of a recording rule that is loaded; empty when there is none."""
        return parse_rule_label(self._get("/api/v1/rules?type=record"), record, label)

    def _get(self, target: str) -> bytes:
        limits = {"seconds": self._timeout, "silence": self._timeout}
        headers = {"Accept": "application/json"}
        try:
            answer = get(self._server, self._prefix + target, headers, largest=LARGEST_ANSWER, **limits)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise PrometheusError(f"Prometheus does not answer: {type(error).__name__}: {error}") from error
        if answer.status != 200:
            raise PrometheusError(f"Prometheus answers with HTTP status {answer.status}")
        if len(answer.body) > LARGEST_ANSWER:
            raise PrometheusError("Prometheus' answer is too large")
        return answer.body


def parse_vector(body: bytes) -> list[Sample]:
    """The samples of ``{"status": "success", "data": {"resultType": "vector", "result": […]}}``.

    Samples that are not finite numbers are dropped. PrometheusError for any other shape.
    """
    data = _data(body)
    if data.get("resultType") != "vector" or not isinstance(data.get("result"), list):
        raise PrometheusError("Prometheus' answer is not a vector")
    try:
        samples = [_sample(entry) for entry in data["result"]]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise PrometheusError("Prometheus' answer contains a malformed sample") from error
    return [sample for sample in samples if math.isfinite(sample.value)]


def parse_rule_interval(body: bytes, record: str) -> float | None:
    """The interval in seconds of the group that contains ``record``."""
    try:
        for group in _data(body).get("groups", []):
            if any(rule.get("name") == record for rule in group["rules"]):
                interval = float(group["interval"])
                return interval if 0 < interval < math.inf else None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PrometheusError("Prometheus' list of rules is malformed") from error
    return None


def parse_rule_label(body: bytes, record: str, label: str) -> str:
    """The label ``label`` of the first rule that records ``record``; empty without one."""
    try:
        rules = [rule for group in _data(body).get("groups", []) for rule in group["rules"]]
        found = [rule["labels"].get(label) for rule in rules if rule.get("name") == record]
    except (KeyError, TypeError, AttributeError) as error:
        raise PrometheusError("Prometheus' list of rules is malformed") from error
    return str(found[0] or "") if found else ""


def _data(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise PrometheusError("Prometheus' answer is not JSON") from error
    if not isinstance(answer, dict) or answer.get("status") != "success":
        raise PrometheusError("Prometheus reports an error")
    data = answer.get("data")
    if not isinstance(data, dict):
        raise PrometheusError("Prometheus' answer contains no data")
    return data


def _sample(entry: Any) -> Sample:
    labels = entry["metric"]
    if not isinstance(labels, dict):
        raise TypeError("labels must be a mapping")
    return Sample({str(name): str(value) for name, value in labels.items()}, float(entry["value"][1]))
