"""A real OpenStack Swift with the S3 API on loopback, in one process, without root, in its own environment.

    python swift_server.py DIR [PORT]    # PORT 0 (the default): a free port

Serves Swift's own proxy, account, container and object servers (one replica, one device: DIR/srv/d1) in the
foreground until SIGTERM or SIGINT. One line of JSON on standard output says when: endpoint, region,
access_key, secret_key, users, pid. Standard error is the log. DIR keeps data and keys: a restart serves the
same buckets.

DIR must be on a file system with user extended attributes (ext4, xfs, btrfs; tmpfs since Linux 6.6).
"""

import argparse
import base64
import importlib
import json
import os
import secrets
import signal
import socket
import ssl
import sys
from pathlib import Path
from typing import Any

REGION = "us-east-1"
STORAGE_KINDS = ("account", "container", "object")

# ext4 has room for some 3.8 kB of attributes per file; S3 allows 2 kB of metadata.
SWIFT_CONF = """\
[swift-hash]
swift_hash_path_prefix = {hash_prefix}
[swift-constraints]
max_meta_value_length = 2048
max_meta_overall_size = 2048
"""

# The timeouts suit a busy machine; after a short container_update_timeout, listings would lag behind.
DEFAULTS = """\
[DEFAULT]
swift_dir = {etc}
devices = {srv}
mount_check = false
fallocate_reserve = 0
node_timeout = 60
conn_timeout = 5
container_update_timeout = 30
log_level = {log_level}
log_udp_host = 127.0.0.1
"""

STORAGE_CONF = """\
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{app}
"""

# error_suppression_interval: the only device must not be suspended (for 60 s) after an error.
# fernet_key: tokens for the native Swift API without memcached.
# allow_async_delete: delete an object's segments with it, do not wait for the expirer.
PROXY_CONF = """\
[pipeline:main]
pipeline = egg:swift#catch_errors egg:swift#gatekeeper egg:swift#healthcheck
    egg:swift#proxy_logging egg:swift#listing_formats egg:swift#bulk tempurl s3api tempauth
    egg:swift#copy egg:swift#container_quotas slo egg:swift#dlo versioned_writes egg:swift#symlink
    proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
error_suppression_interval = 0
[filter:tempurl]
use = egg:swift#tempurl
allowed_digests = sha256 sha512
[filter:s3api]
use = egg:swift#s3api
location = {region}
max_upload_part_num = 10000
[filter:slo]
use = egg:swift#slo
max_manifest_segments = 10000
allow_async_delete = false
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_object_versioning = true
[filter:tempauth]
use = egg:swift#tempauth
active_fernet_key_id = lab
fernet_key_lab = {fernet}
"""


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read."""
    path.touch(mode=0o600)
    path.write_text(text)


def load_state(path: Path, users: list[str]) -> dict[str, str]:
    """Secrets of this instance, kept in ``path``; one key per user, made when new."""
    state: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    state.setdefault("hash_prefix", secrets.token_hex(8))  # names on disk depend on it
    state.setdefault("fernet", base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())
    for user in users:
        state.setdefault(f"key {user}", secrets.token_hex(20))
    write_private(path, json.dumps(state))
    return state


def check_extended_attributes(folder: Path) -> None:
    """Swift keeps object metadata in user.* attributes: fail early without them."""
    try:
        os.setxattr(folder, "user.swift.probe", b"")
    except OSError as error:
        sys.exit(f"{folder}: no user extended attributes here ({error}); try --memory")


def listen(address: str, port: int, tls: list[str] | None = None) -> socket.socket:
    """Listen. eventlet.listen sets SO_REUSEPORT: two instances would share a port silently."""
    server = socket.create_server((address, port), backlog=1024)
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted sockets inherit it
    if not tls:
        return server
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*tls)
    return context.wrap_socket(server, server_side=True)


class Instance:
    """One Swift: its folders, its secrets and the sockets it listens on."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        folder = arguments.directory.resolve()
        self.etc, self.srv = folder / "etc", folder / "srv"
        self.etc.mkdir(parents=True, exist_ok=True)
        (self.srv / "d1").mkdir(parents=True, exist_ok=True)
        if not arguments.memory:
            check_extended_attributes(self.srv)
        self.state = load_state(self.etc / "state.json", [arguments.admin, *arguments.user])
        write_private(self.etc / "swift.conf", SWIFT_CONF.format(**self.state))
        self.defaults = DEFAULTS.format(etc=self.etc, srv=self.srv, log_level=arguments.log_level)
        self.sockets: dict[str, socket.socket] = {}

    def prepare_library(self) -> None:
        """Point Swift to our folder, before any socket is made and before Swift's constraints are read."""
        utils = importlib.import_module("swift.common.utils")
        utils.monkey_patch()
        utils.set_swift_dir(str(self.etc))
        importlib.import_module("eventlet.hubs").use_hub(utils.get_hub())
        # From here on all Swift loggers write to standard error. A number, as there may be no /etc/hosts.
        utils.get_logger({"log_udp_host": "127.0.0.1"}, log_to_console=True)

    def configure_storage(self) -> None:
        """Listen first, so that the rings name ports that are certainly ours."""
        builder_of = importlib.import_module("swift.common.ring").RingBuilder
        for kind in STORAGE_KINDS:
            self.sockets[kind] = listen("127.0.0.1", 0)
            port = self.sockets[kind].getsockname()[1]
            builder = builder_of(part_power=0, replicas=1, min_part_hours=0)
            device = {"region": 1, "zone": 1, "device": "d1", "weight": 1.0, "ip": "127.0.0.1"}
            builder.add_dev({**device, "port": port})
            builder.rebalance()
            builder.get_ring().save(str(self.etc / f"{kind}.ring.gz"))
            app = "mem_object" if kind == "object" and self.arguments.memory else kind
            text = STORAGE_CONF.format(kind=kind, app=app)
            write_private(self.etc / f"{kind}-server.conf", self.defaults + text)

    def configure_proxy(self) -> None:
        """The only public server: the S3 API, users and their keys."""
        arguments = self.arguments
        self.sockets["proxy"] = listen(arguments.address, arguments.port, arguments.tls)
        text = PROXY_CONF.format(region=REGION, **self.state)
        for user in (arguments.admin, *arguments.user):
            groups = ".admin" if user == arguments.admin else ""
            text += f"user_{user.replace(':', '_')} = {self.state[f'key {user}']} {groups}\n"
        write_private(self.etc / "proxy-server.conf", self.defaults + text)

    def serve(self) -> None:
        """Start the four servers in this process. S3 clients want "ETag", not a capitalised "Etag"."""
        eventlet = importlib.import_module("eventlet")
        wsgi = importlib.import_module("eventlet.wsgi")
        options: dict[str, Any] = {
            "protocol": importlib.import_module("swift.common.http_protocol").SwiftHttpProtocol,
            "url_length_limit": importlib.import_module("swift.common.constraints").MAX_REQUEST_LINE,
            "log_output": False,
            "socket_timeout": 60,
            "debug": False,
            "capitalize_response_headers": False,
        }
        load = importlib.import_module("swift.common.wsgi").loadapp
        for kind, server in self.sockets.items():
            app = load(str(self.etc / f"{kind}-server.conf"), global_conf={"log_name": kind})
            eventlet.spawn(wsgi.server, server, app, **options)
        if self.arguments.expirer:
            eventlet.spawn(self.expire)

    def expire(self) -> None:
        """Delete objects whose X-Delete-At has passed; only the updater fills the expirer's queue."""
        eventlet = importlib.import_module("eventlet")
        path = self.etc / "object-expirer.conf"  # the name matters: the expirer reads it
        write_private(path, self.defaults + STORAGE_CONF.format(kind="proxy", app="proxy"))
        read = importlib.import_module("swift.common.utils").readconf
        conf = {**read(str(path), "app:proxy-server"), "recon_cache_path": str(self.etc)}
        daemons = [
            importlib.import_module("swift.container.updater").ContainerUpdater(conf),
            importlib.import_module("swift.obj.expirer").ObjectExpirer(conf),
        ]
        while True:
            eventlet.sleep(self.arguments.expirer)
            for daemon in daemons:
                daemon.run_once()  # logs its own errors

    def ready_line(self) -> str:
        """The data that a client needs, as one line of JSON."""
        arguments = self.arguments
        ready = {
            "endpoint": f"{'https' if arguments.tls else 'http'}://{arguments.address}:"
            f"{self.sockets['proxy'].getsockname()[1]}",
            "region": REGION,
            "access_key": arguments.admin,
            "secret_key": self.state[f"key {arguments.admin}"],
            "users": {user: self.state[f"key {user}"] for user in arguments.user},
            "pid": os.getpid(),
        }
        return json.dumps(ready)


def run(arguments: argparse.Namespace) -> None:
    """Serve until a signal; Swift's files survive a hard stop."""
    instance = Instance(arguments)
    instance.prepare_library()
    instance.configure_storage()
    instance.configure_proxy()
    instance.serve()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    print(instance.ready_line(), flush=True)
    importlib.import_module("eventlet.hubs").get_hub().switch()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("directory", type=Path, help="for configuration, keys and data")
    add("port", type=int, nargs="?", default=0, help="0, the default: a free port")
    add("--address", default="127.0.0.1", help="address of the only public server")
    add("--admin", default="backup:admin", metavar="ACCOUNT:NAME", help="has all rights in ACCOUNT")
    add("--user", action="append", default=[], metavar="ACCOUNT:NAME", help="no rights before ACLs")
    add("--tls", nargs=2, metavar=("CERT", "KEY"), help="PEM files: serve https")
    add("--memory", action="store_true", help="objects (not buckets) in memory: lost at exit")
    add("--expirer", type=float, default=0, metavar="SECONDS", help="delete expired objects")
    add("--log-level", default="WARNING", help="INFO logs each request")
    run(parser.parse_args())


if __name__ == "__main__":
    main()
