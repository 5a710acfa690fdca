"""Ansible action: leitstand_files. Hashes travel first; contents follow only for files that differ."""

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

Entry = dict[str, Any]


class ActionModule(ActionBase):  # type: ignore[misc]
    """Reads what is wanted on this machine and makes the host like it."""

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        """One round trip if nothing differs, otherwise two."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        entries = [each for given in self._task.args["entries"] for each in self._expanded(given)]
        contents = {entry["path"]: entry.pop("content") for entry in entries if "content" in entry}
        answer = self._module([{**each, **_sum(contents.get(each["path"]))} for each in entries], task_vars)
        wanted = answer.get("differ", [])
        if wanted and not answer.get("failed"):
            full = [
                {**each, **_sum(contents.get(each["path"]), full=each["path"] in wanted)} for each in entries
            ]
            answer = self._module(full, task_vars, act=True)
        result.update(answer)
        return result

    def _module(self, entries: list[Entry], task_vars: Any, *, act: bool = False) -> dict[str, Any]:
        args = {"entries": entries, "act": act}
        answer: dict[str, Any] = self._execute_module(module_args=args, task_vars=task_vars)
        return answer

    def _expanded(self, given: Entry) -> Iterator[Entry]:
        """The entry itself with its content; of a tree, one for each of its files."""
        if "tree" in given:
            yield from self._tree(given)
            return
        if "paths" in given:
            rest = {key: value for key, value in given.items() if key != "paths"}
            yield from ({**rest, "path": path} for path in given["paths"])
            return
        entry = dict(given)
        if "source" in entry:
            entry["content"] = self._read(entry.pop("source"))
        elif "content" in entry:
            content = entry["content"]
            text = (
                content if isinstance(content, str) else json.dumps(content, indent=4, sort_keys=True) + "\n"
            )
            entry["content"] = text.encode()
        yield entry

    def _tree(self, given: Entry) -> Iterator[Entry]:
        root, to = Path(given["tree"]), Path(given["path"])
        rest = {key: value for key, value in given.items() if key not in ("tree", "path", "only")}
        pattern = Path(given.get("only", "none/of these"))
        files = sorted(path for path in root.rglob("*") if path.is_file())
        for folder in sorted({path.parent.relative_to(root) for path in files} | {Path()}):
            kept = [path.name for path in files if path.parent.relative_to(root) == folder]
            swept = {"only": pattern.name, "kept": kept} if folder == pattern.parent else {}
            yield {**rest, "path": str(to / folder), "state": "folder", "mode": "0755", **swept}
        for path in files:
            yield {**rest, "path": str(to / path.relative_to(root)), "content": self._read(str(path))}

    def _read(self, source: str) -> bytes:
        """A file of this machine, or of the role's folder ``files``."""
        path = source if source.startswith("/") else self._find_needle("files", source)
        try:
            return Path(path).read_bytes()
        except OSError as error:
            raise AnsibleActionFail(f"{path}: {error.strerror}") from error


def _sum(content: bytes | None, *, full: bool = False) -> Entry:
    if content is None:
        return {}
    found = {"sha256": hashlib.sha256(content).hexdigest()}
    return {**found, "content": base64.b64encode(content).decode()} if full else found
