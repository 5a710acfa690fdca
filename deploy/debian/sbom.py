"""What is in a package, as CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json/)."""

import hashlib
import json
import re
import uuid
from datetime import UTC, datetime
from email.message import Message
from pathlib import Path
from typing import Any

from deploy.debian.archive import described, licence


def write(package: Path, packages: Path, wheels: Path, epoch: int) -> Path:
    """Beside a .deb the list of the libraries in it, with the hash of the wheel that each came from."""
    name, version, architecture = package.stem.split("_")
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.UUID(digest[:32], version=4)}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(epoch, UTC).isoformat(),
            "component": {
                "type": "application",
                "bom-ref": name,
                "name": name,
                "version": version,
                "purl": f"pkg:deb/leitstand/{name}@{version}?arch={architecture}",
                "hashes": [{"alg": "SHA-256", "content": digest}],
                "licenses": [{"expression": "Apache-2.0"}],
            },
        },
        "components": [
            _component(each, wheels) for each in described(packages) if each["Name"] != "leitstand"
        ],
    }
    path = package.with_name(f"{package.stem}.cdx.json")
    path.write_text(json.dumps(document, indent=1) + "\n")
    return path


def _component(metadata: Message, wheels: Path) -> dict[str, Any]:
    name, version = re.sub(r"[-_.]+", "-", metadata["Name"]).lower(), metadata["Version"]
    wheel = next(wheels.glob(f"{name.replace('-', '_')}-{version}-*.whl"))
    purl = f"pkg:pypi/{name}@{version}"
    spdx = metadata["License-Expression"]
    return {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
        "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(wheel.read_bytes()).hexdigest()}],
        "licenses": [{"expression": spdx}] if spdx else [{"license": {"name": licence(metadata)}}],
    }
