"""Ansible module: keep the packages of the last releases on a host, in the order in which they came."""

import json
import re
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: leitstand_release
short_description: Keep the package files of the last releases
description:
  - Records a package file in the order in which releases came to this host.
  - Removes the oldest files of the same package beyond C(keep).
  - The order is a list in the folder, not the files' times.
options:
  folder: {description: Folder of the package files., type: path, required: true}
  file: {description: Name of the package file in it that is used now., type: str, required: true}
  keep: {description: How many files of this package to keep., type: int, default: 3}
"""


def wanted(order: list[str], file: str, keep: int, present: list[str]) -> tuple[list[str], list[str]]:
    """The new order, newest last, and the files to remove: of the same package, beyond ``keep``."""
    package = file.split("_", 1)[0]
    known = [name for name in order if name in present and name != file] + [file]
    same = [name for name in known if name.split("_", 1)[0] == package]
    gone = same[:-keep]
    return [name for name in known if name not in gone], gone


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(
        {
            "folder": {"type": "path", "required": True},
            "file": {"type": "str", "required": True},
            "keep": {"type": "int", "default": 3},
        },
        supports_check_mode=True,
    )
    folder, file, keep = (module.params[name] for name in ("folder", "file", "keep"))
    if not re.fullmatch(r"leitstand(-exporter)?_[A-Za-z0-9.+~:-]+_[a-z0-9]+\.deb", file):
        module.fail_json(msg=f"'{file}' is not a package of Leitstand")
    record = Path(folder, "order.json")
    try:
        order = [name for name in json.loads(record.read_text()) if isinstance(name, str)]
    except (OSError, ValueError):
        order = []
    present = [path.name for path in Path(folder).glob("*.deb")]
    new, gone = wanted(order, file, keep, [*present, file])
    changed = new != order
    if changed and not module.check_mode:
        written = record.with_suffix(".new")
        written.write_text(json.dumps(new))
        written.replace(record)
        for name in gone:
            Path(folder, name).unlink()
    module.exit_json(changed=changed, removed=gone)


if __name__ == "__main__":
    main()
