"""Stores that stand in each other's way, or in that of their job's own sources."""

from pathlib import Path
from typing import Any

Site = Any


def test_the_snapshots_of_a_job_are_not_saved_by_its_next_run(site: Site, tmp_path: Path) -> None:
    other = tmp_path / "another name of it"
    other.symlink_to(site.disk)
    site.document["stores"]["disk"]["path"] = str(other)
    site.job["sources"] = [{"files": str(site.folder), "exclude": ["state", "metrics"]}]
    site.good("run", "site")
    assert "a store of this job, its contents are left out" in site.good("run", "site").stderr
    paths = site.good("ls", "site").stdout
    assert "vol.zip" not in paths
    assert f"files{site.disk}\n" in paths, "the folder itself is needed for a restore"
    assert f"files{site.www}/index.html\n" in paths
    assert site.leitstand("verify", "site", "--spot", 5).status == 0, "nor is it compared"


def test_a_source_in_a_store_of_its_job_is_refused(site: Site) -> None:
    site.job["sources"] = [{"files": str(site.disk / "here")}]
    ran = site.leitstand("run", "site")
    assert ran.status == 2
    assert "is in 'disk', a store of this job" in ran.stderr
    site.document["hosts"]["here"]["ssh"] = {"user": "root"}
    assert "a store of this job" not in site.leitstand("status").stderr, "it is a folder of another machine"


def test_two_stores_that_are_one_place_are_refused(site: Site) -> None:
    swift = {"type": "s3", "bucket": "backups", "credentials_file": "/etc/leitstand/swift.ini"}
    site.document["stores"] |= {
        "same": {"type": "folder", "path": f"{site.disk}/"},
        "swift": {**swift, "endpoint": "https://swift.example.org"},
        "twin": {**swift, "endpoint": "https://swift.example.org/"},
        "other": {**swift, "endpoint": "https://swift.example.org", "prefix": "other"},
    }
    site.job["stores"] = ["disk", "same", "swift", "twin", "other"]
    ran = site.leitstand("run", "site")
    assert ran.status == 2
    told = [line for line in ran.stderr.splitlines() if "same place" in line]
    assert len(told) == 2
    assert "store 'same' is the same place as 'disk'" in told[0]
    assert "store 'twin' is the same place as 'swift'" in told[1]
