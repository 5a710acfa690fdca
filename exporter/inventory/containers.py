"""Container images and running containers, asked from Docker or Podman over their socket, where we may."""

import http.client
import socket
from typing import Any

from exporter.inventory.source import Context, Findings
from exporter.inventory.text import load_json, text_of
from exporter.roots import NoData

SOCKETS = {"docker": ("/run/docker.sock", "/var/run/docker.sock"), "podman": ("/run/podman/podman.sock",)}
TIME_LIMIT = 5.0
ANSWER_LIMIT = 16 * 1024 * 1024


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIME_LIMIT)
        self._path = path

    def connect(self) -> None:
        """Open the socket instead of an address."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def read(context: Context) -> Findings:
    """Every image and every running container of each engine. NoData when no socket is ours to open."""
    findings, asked = Findings(), 0
    failure: Exception = NoData("no container engine that may be asked")
    for runtime, paths in SOCKETS.items():
        path = next((path for path in paths if context.tree.stat(path)), None)
        if path is None:
            continue
        try:
            images = entries(get(context.tree.real(path), "/images/json"))
            running = entries(get(context.tree.real(path), "/containers/json"))
        except (PermissionError, ConnectionRefusedError):  # not ours to ask; stopped
            continue
        except (OSError, ValueError) as error:
            findings.skip(reason=str(error))
            failure = error
            continue
        asked += 1
        add_images(findings, runtime, images)
        add_containers(findings, runtime, running)
    if not asked:
        raise failure
    return findings


def entries(raw: Any) -> list[Any]:
    """The list that an engine answers with. Raises ValueError for another answer."""
    if not isinstance(raw, list):
        raise ValueError("a container engine answers with something else than a list")
    return raw


def get(path: str, target: str) -> Any:
    """The JSON answer of an engine. Raises OSError, ValueError."""
    connection = UnixConnection(path)
    try:
        connection.request("GET", target)
        response = connection.getresponse()
        body = response.read(ANSWER_LIMIT)
    except http.client.HTTPException as error:
        raise ValueError(f"{path}: {error}") from error
    finally:
        connection.close()
    if response.status != http.HTTPStatus.OK:
        raise ValueError(f"{path}: {target} answered {response.status}")
    return load_json(body.decode("utf-8", "replace"))


def add_images(findings: Findings, runtime: str, raw: Any) -> None:
    """Add the images of an answer to /images/json; one item per name, or one without name."""
    for image in raw if isinstance(raw, list) else []:
        if not isinstance(image, dict) or not text_of(image.get("Id")):
            findings.skip(reason=f"an image of {runtime} without Id")
            continue
        created, names = image.get("Created"), image.get("RepoTags")
        for name in names if names and isinstance(names, list) else ["<none>:<none>"]:
            repository, _, tag = text_of(name).rpartition(":")
            findings.add(
                "container_image",
                runtime=runtime,
                name=repository,
                version=tag,
                id=text_of(image["Id"]).removeprefix("sha256:")[:12],
                created=created if isinstance(created, int) else None,
            )


def add_containers(findings: Findings, runtime: str, raw: Any) -> None:
    """Add the containers of an answer to /containers/json."""
    for entry in raw if isinstance(raw, list) else []:
        names = entry.get("Names") if isinstance(entry, dict) else None
        if not isinstance(names, list) or not names:
            findings.skip(reason=f"a container of {runtime} without name")
            continue
        findings.add(
            "container",
            runtime=runtime,
            name=text_of(names[0]).lstrip("/"),
            image=text_of(entry.get("Image")),
            id=text_of(entry.get("Id"))[:12],
        )
