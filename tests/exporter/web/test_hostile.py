"""Whatever a client or a file says to the server is understood or refused, in one of the ways foreseen."""

import contextlib
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.collectors.options import Options, seconds
from exporter.web.access import basic_credentials, canonical_name
from exporter.web.app import MAXIMUM_DEADLINE_SECONDS, chosen_names, deadline
from exporter.web.config import load_web_config
from exporter.web.http1 import Request
from exporter.web.listening import split_address
from leitstand.errors import UsageError

KNOWN = ("cpu", "loadavg")
letters = st.text(max_size=40)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(query=letters | st.text("collect[]exclude=&%5Bcpu", max_size=60))
def test_a_query_chooses_known_collectors_or_is_refused(query: str) -> None:
    with contextlib.suppress(ValueError):
        chosen = chosen_names(query, KNOWN)
        assert chosen is None or set(chosen) <= set(KNOWN)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(value=letters | st.floats().map(str))
def test_any_scrape_timeout_gives_a_deadline(value: str) -> None:
    found = deadline(Request("GET", "/metrics", "", {"x-prometheus-scrape-timeout-seconds": value}))
    assert 0 < found <= MAXIMUM_DEADLINE_SECONDS
    assert math.isfinite(found)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(header=letters | st.binary(max_size=30).map(lambda data: "Basic " + data.hex()))
def test_any_authorization_is_a_user_and_a_password_or_nothing(header: str) -> None:
    found = basic_credentials(header)
    assert found is None or (isinstance(found[0], str) and isinstance(found[1], bytes))


@settings(max_examples=200, derandomize=True, deadline=None)
@given(name=letters | st.ip_addresses().map(str))
def test_a_name_keeps_its_canonical_form(name: str) -> None:
    assert canonical_name(canonical_name(name)) == canonical_name(name)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(text=letters | st.text("[]:.0123456789af", max_size=20))
def test_an_address_is_a_host_and_a_port_or_refused(text: str) -> None:
    with contextlib.suppress(UsageError):
        assert 0 <= split_address(text)[1] <= 65535


@settings(max_examples=200, derandomize=True, deadline=None)
@given(text=letters | st.text("0123456789.eins-+_", max_size=8))
def test_a_time_limit_is_positive_or_refused(text: str) -> None:
    with contextlib.suppress(UsageError):
        assert 0 < seconds(Options(filesystem_mount_timeout=text), "filesystem_mount_timeout") < math.inf


PIECES = st.sampled_from([
    "tls_server_config:", "basic_auth_users:", "http_server_config:", "rate_limit:", "  cert_file: ",
    "  headers: ", "{", "}", "[", "]", "&a", "*a", "!!python/object:os.system ", "? ", "- ", "\t", "~", "\n",
    "  x: 1\n", "\x00", "  interval: 1s\n", "  burst: 99999999999999999999\n", "  min_version: TLS12\n",
    "---\n", "...", '"', "'", "ä",
])  # fmt: skip


@settings(max_examples=150, derandomize=True, deadline=None)
@given(content=st.binary(max_size=80) | st.lists(PIECES, max_size=12).map("".join).map(str.encode))
def test_any_web_configuration_is_rules_or_refused(content: bytes, web_file: Path) -> None:
    web_file.write_bytes(content)
    with contextlib.suppress(UsageError):
        load_web_config(web_file)


@pytest.fixture(scope="module")
def web_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile") / "web.yml"
