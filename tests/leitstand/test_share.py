"""Where the data files are found, in a wheel and in a checkout."""

import pytest

from leitstand.errors import LeitstandError
from leitstand.share import share


def test_an_installed_wheel_uses_what_it_brought(tmp_path):
    package = tmp_path / "leitstand"
    for folder in (package / "share" / "prometheus", tmp_path / "prometheus"):
        folder.mkdir(parents=True)
    assert share("prometheus", package) == package / "share" / "prometheus"


def test_a_checkout_uses_the_room_beside_the_package(tmp_path):
    (tmp_path / "prometheus").mkdir()
    assert share("prometheus", tmp_path / "leitstand") == tmp_path / "prometheus"


def test_without_either_the_user_learns_how_to_install_it(tmp_path):
    with pytest.raises(LeitstandError, match="'grafana' are not installed") as caught:
        share("grafana", tmp_path / "leitstand")
    assert "wheel" in caught.value.hint


def test_this_checkout_has_both():
    assert (share("prometheus") / "prometheus.yml").is_file()
    assert (share("grafana") / "provisioning").is_dir()
