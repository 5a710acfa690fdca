"""What apt's hook keeps of the packages that were installed."""

import os
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "deploy/debian/common/opt/leitstand/bin/keep-release"
KEPT = "/var/cache/leitstand/releases"


def test_the_newest_three_of_each_package_and_system_stay_and_the_one_that_runs(tmp_path: Path) -> None:
    kept = tmp_path / "releases"
    kept.mkdir()
    script = tmp_path / "keep-release"
    script.write_text(SCRIPT.read_text().replace(f"folder={KEPT}\n", f"folder={kept}\n"))
    for name in ("leitstand", "leitstand-exporter"):
        for system in ("deb12", "deb13"):
            for version in ("1.0", "1.2", "1.10", "1.3"):
                (kept / f"{name}_{version}+{system}_amd64.deb").touch()
    new = tmp_path / "leitstand_1.1+deb12_amd64.deb"
    new.touch()
    shown = tmp_path / "bin" / "dpkg-query"
    shown.parent.mkdir()
    shown.write_text("#!/bin/sh\nprintf '1.0+deb13 '\nexit 1\n")
    shown.chmod(0o755)
    path = {"PATH": f"{shown.parent}:{os.environ['PATH']}"}
    given = f"{new}\n/elsewhere/nginx.deb\n"
    subprocess.run(["sh", script], input=given, env=path, text=True, check=True)
    found = {path.name.removesuffix("_amd64.deb") for path in kept.iterdir()}
    three = {
        f"{name}_{version}+{system}"
        for name in ("leitstand", "leitstand-exporter")
        for system in ("deb12", "deb13")
        for version in ("1.2", "1.3", "1.10")
    }
    # What is being installed stays in any case, as it may be an older one; and what runs until now.
    running = {"leitstand_1.0+deb13", "leitstand-exporter_1.0+deb13"}
    assert found == three | running | {"leitstand_1.1+deb12"}
