"""Images, running containers and volumes, asked from Docker or Podman over their socket, where we may."""

import http.client
import re
import socket
from typing import Any

from exporter.inventory.source import Context, Findings
from exporter.inventory.text import load_json, text_of
from exporter.roots import NoData

# Where volumes are if the engine may not be asked.
VOLUMES = {"docker": "/var/lib/docker/volumes", "podman": "/var/lib/containers/storage/volumes"}
_UNNAMED = re.compile(r"[0-9a-f]{64}")
# Bound into containers to show them the host, not for their data.
_OF_THE_HOST = re.compile(r"/(?:boot|dev|etc|lib|proc|run|s?bin|sys|tmp|usr|var/run|var/log)?(?:/.*)?")
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
    """Every image, running container and volume of each engine. NoData if none runs.

    Of one that is not ours to ask, all volumes are one item.
    """
    findings, asked = Findings(), 0
    failure: Exception = NoData("no container engine that may be asked")
    for runtime, paths in SOCKETS.items():
        path = next((path for path in paths if context.tree.stat(path)), None)
        if path is None:
            continue
        try:
            images = entries(get(context.tree.real(path), "/images/json"))
            running = entries(get(context.tree.real(path), "/containers/json"))
        except PermissionError:  # not ours to ask
            asked += 1
            findings.add(
                "container_volume", runtime=runtime, name="*", path=VOLUMES[runtime], containers=[], images=[]
            )
            continue
        except ConnectionRefusedError:  # stopped
            continue
        except (OSError, ValueError) as error:
            findings.skip(reason=str(error))
            failure = error
            continue
        asked += 1
        add_images(findings, runtime, images)
        add_containers(findings, runtime, running)
        add_volumes(findings, runtime, named_volumes(findings, context.tree.real(path)), running)
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


def named_volumes(findings: Findings, socket_path: str) -> dict[str, str]:
    """Path -> name of every volume; none, which is skipped, if the engine does not tell."""
    try:
        answer = get(socket_path, "/volumes")
    except (OSError, ValueError) as error:
        findings.skip(reason=str(error))
        return {}
    volumes = answer.get("Volumes") if isinstance(answer, dict) else None
    known = [entry for entry in volumes or [] if isinstance(entry, dict)] if isinstance(volumes, list) else []
    return {text_of(entry.get("Mountpoint")): text_of(entry.get("Name")) for entry in known}


def add_volumes(findings: Findings, runtime: str, named: dict[str, str], raw: Any) -> None:
    """Add named volumes, unnamed ones in use, and folders of the host that containers may write to."""
    users: dict[str, list[tuple[str, str]]] = {}
    for entry in raw if isinstance(raw, list) else []:
        names = entry.get("Names") if isinstance(entry, dict) else None
        user = text_of(names[0]).lstrip("/") if isinstance(names, list) and names else ""
        for path in mounted(entry if isinstance(entry, dict) else {}):
            users.setdefault(path, []).append((user, text_of(entry.get("Image"))))
    for path in {**named, **dict.fromkeys(users)}:
        name = named.get(path, "")
        if path and (path in users or not _UNNAMED.fullmatch(name)):
            containers = sorted({user for user, _ in users.get(path, []) if user})
            images = sorted({image for _, image in users.get(path, []) if image})
            findings.add(
                "container_volume",
                runtime=runtime,
                name=name,
                path=path,
                containers=containers,
                images=images,
            )


def mounted(entry: dict[str, Any]) -> list[str]:
    """The paths on the host that a container may write to and that are not the system's."""
    mounts = entry.get("Mounts")
    return [
        source
        for mount in (mounts if isinstance(mounts, list) else [])
        if isinstance(mount, dict)
        and mount.get("RW") is not False
        and mount.get("Type") in ("bind", "volume")
        if (source := text_of(mount.get("Source"))).startswith("/") and not _OF_THE_HOST.fullmatch(source)
    ]
