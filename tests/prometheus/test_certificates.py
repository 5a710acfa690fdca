"""A service with a certificate for many names, as shared hosts have, is measured like any other."""

import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleet_config.expected import Expected
from fleet_config.output import write_files
from fleet_config.prometheus import Addresses, prometheus_files
from lab.patience import patient
from lab.processes import Server, fetch, free_port, wait_until


class Site(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[str, Any]]:
    """Its URL and its certificate, which names a hundred customers."""
    names = ",".join(f"DNS:www.customer-number-{number}.example.org" for number in range(100))
    certificate, key = tmp_path / "site.pem", tmp_path / "site.key"
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    argv += ["-keyout", key, "-out", certificate, "-subj", "/CN=site"]
    argv += ["-addext", f"subjectAltName=IP:127.0.0.1,{names}"]
    subprocess.run(argv, check=True, capture_output=True, timeout=patient(60))
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"https://127.0.0.1:{server.server_port}/", certificate
        server.shutdown()
        thread.join()


def test_a_certificate_of_a_hundred_names_does_not_hide_its_service(site, fleet_from, room, tmp_path):
    url, certificate = site
    ports = {"prometheus": free_port(), "blackbox": free_port()}
    addresses = Addresses(**{name: f"127.0.0.1:{port}" for name, port in ports.items()})
    fleet = fleet_from(f'services: {{shop: {{name: Shop, url: "{url}"}}}}\nprobing: {{canaries: []}}')
    files = prometheus_files(fleet, Expected(), addresses, room)
    configuration = yaml.safe_load(files["prometheus.yml"])
    configuration["global"] |= {"scrape_interval": "1s", "scrape_timeout": "1s"}
    for job in configuration["scrape_configs"]:
        job |= {"scrape_interval": "1s", "scrape_timeout": "1s"}
    write_files(tmp_path, {**files, "prometheus.yml": yaml.safe_dump(configuration)})
    argv = ["env", f"SSL_CERT_FILE={certificate}", "prometheus-blackbox-exporter"]
    argv += [
        f"--config.file={tmp_path}/blackbox.yml",
        f"--web.listen-address={addresses.blackbox}",
        "--log.level=error",
    ]
    prober = Server("blackbox", argv, tmp_path / "blackbox.log", ports["blackbox"], "/-/healthy")
    argv = ["prometheus", f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
    argv += [f"--web.listen-address={addresses.prometheus}"]
    server = Server("prometheus", argv, tmp_path / "prometheus.log", ports["prometheus"], "/-/ready")
    prober.start()
    try:
        server.start()
        query = (
            f"http://{addresses.prometheus}/api/v1/query?query=probe_success%7Bservice%3D%22shop%22%7D%3D%3D1"
        )
        wait_until(lambda: '"service":"shop"' in fetch(query)[1], "a good probe", seconds=60)
        query = query.replace("probe_success", "probe_ssl_last_chain_info")
        assert "fingerprint_sha256" in fetch(query)[1]
    finally:
        prober.stop()
        server.stop()
