"""`leitstand apply` warns until the recovery kit of the present keys was printed."""

from pathlib import Path

from leitstand.cli import run
from rollout.apply.command import not_exported

FILE = """\
site: {{name: Racing team}}
hosts: {{here: {{address: 127.0.0.1}}}}
stores: {{disk: {{type: folder, path: {folder}/store}}}}
backups:
  etc:
    host: here
    sources: [{{files: {folder}/etc}}]
    stores: [disk]
    keys_file: {folder}/keys
"""


def test_the_warning_ends_with_the_export_and_comes_back_with_new_keys(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    config, keys = tmp_path / "leitstand.yml", tmp_path / "keys"
    config.write_text(FILE.format(folder=tmp_path))
    assert list(not_exported([keys])) == [], "there are no keys yet"
    assert run(["backup", "keys", "generate", "--config", str(config)]) == 0
    (warning,) = not_exported([keys])
    assert "leitstand backup keys export" in warning
    export = ["backup", "keys", "export", "--config", str(config)]
    assert run([*export, "--out", str(tmp_path / "kit.txt")]) == 0
    assert list(not_exported([keys])) == []
    note = keys.with_name("keys.exported")
    assert note.stat().st_mode & 0o777 == 0o600
    assert not any(word in keys.read_text() for word in note.read_text().split())
    assert run(["backup", "keys", "generate", "--add", "--config", str(config)]) == 0
    assert len(list(not_exported([keys]))) == 1
