"""What apt's hook keeps of the packages that were installed."""

import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "deploy/debian/common/opt/leitstand/bin/keep-release"
KEPT = "/var/cache/leitstand/releases"


def test_the_newest_three_of_each_package_and_system_stay(tmp_path: Path) -> None:
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
    subprocess.run(["sh", script], input=f"{new}\n/elsewhere/nginx.deb\n", text=True, check=True)
    found = {path.name.removesuffix("_amd64.deb") for path in kept.iterdir()}
    three = {
        f"{name}_{version}+{system}"
        for name in ("leitstand", "leitstand-exporter")
        for system in ("deb12", "deb13")
        for version in ("1.2", "1.3", "1.10")
    }
    # What is being installed stays in any case: it may be an older one.
    assert found == three | {"leitstand_1.1+deb12"}
