"""What a script may read: every command that reports something does so as JSON, too."""

import json
from pathlib import Path
from typing import Any

import pytest

Site = Any


@pytest.fixture
def saved(site: Site) -> Site:
    site.good("run", "site")
    return site


def test_a_restore_reports_what_it_restored(saved: Site, tmp_path: Path) -> None:
    target = tmp_path / "out"
    planned = json.loads(saved.good("restore", "site", "--target", target, "--dry-run", "--json").stdout)
    done = json.loads(saved.good("restore", "site", "--target", target, "--json").stdout)
    assert planned["would_remove"] == []
    assert done["entries"] == planned["entries"] > 0
    assert done["content_bytes"] == planned["content_bytes"]
    assert (done["job"], done["target"], done["notes"]) == ("site", str(target), [])
    assert saved.snapshots("disk") == [done["snapshot"]]


def test_the_password_of_a_snapshot_is_the_same_as_text_and_as_json(saved: Site) -> None:
    (snapshot,) = saved.snapshots("disk")
    facts = json.loads(saved.good("keys", "show", snapshot, "--json").stdout)
    assert facts["password"] == saved.good("keys", "show", snapshot).stdout.strip()
    assert (facts["job"], facts["snapshot"], facts["generation"]) == ("site", snapshot, 1)


def test_a_new_generation_of_keys_is_reported(saved: Site) -> None:
    assert json.loads(saved.good("keys", "generate", "--add", "--json").stdout)["generation"] == 2


def test_a_rebuilt_catalog_is_counted(saved: Site) -> None:
    rows = json.loads(saved.good("catalog", "rebuild", "--json").stdout)
    assert rows == [{"job": "site", "store": "disk", "snapshots": 1}]
