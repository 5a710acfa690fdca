import shutil
import subprocess
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from leitstand.versions import apk_key, common_key, dpkg_key, key_of, rpm_key

VERSIONS = st.text(alphabet="0019a~+.-zZ:^", min_size=1, max_size=8)


def dpkg_says_older(one: str, other: str) -> bool:
    done = subprocess.run(["dpkg", "--compare-versions", one, "lt", other], check=False, capture_output=True)
    assume(not done.stderr)  # not a version to dpkg
    return done.returncode == 0


def rpm_says_older(one: str, other: str) -> bool:
    script = f'%{{lua: print(rpm.vercmp("{one}", "{other}"))}}'
    return subprocess.run(["rpm", "--eval", script], check=True, capture_output=True).stdout.strip() == b"-1"


@settings(max_examples=250, derandomize=True, deadline=None)
@given(VERSIONS.map(lambda text: text.replace("^", "")), VERSIONS.map(lambda text: text.replace("^", "")))
def test_the_order_is_dpkgs_own(one: str, other: str) -> None:
    one, other = (f"1{text.replace(':', '')}" for text in (one, other))
    assert (dpkg_key(one) < dpkg_key(other)) == dpkg_says_older(one, other)


@settings(max_examples=150, derandomize=True, deadline=None)
@given(VERSIONS, VERSIONS)
def test_the_order_is_rpms_own(one: str, other: str) -> None:
    one, other = (f"1{text.replace(':', '').replace('-', '')}" for text in (one, other))
    assert shutil.which("rpm"), "the Debian package rpm is missing"
    assert (rpm_key(one) < rpm_key(other)) == rpm_says_older(one, other)


@pytest.mark.parametrize(
    ("manager", "ascending"),
    [
        ("dpkg", ["1.0~rc1-1", "1.0-1", "1.0-1+deb12u1", "1.0-2", "1.0a-1", "1.0+b-1", "1:0.1"]),
        ("dpkg", ["3.0.19-1~deb12u2", "3.0.19-1", "3.0.20-1~deb12u1", "3.0.100-1"]),
        ("rpm", ["1.0~rc1-1", "1.0-1.el9", "1.0-1.el9_3", "1.0^git1-1", "1.0.1-1", "1:0.5-1"]),
        (
            "apk",
            [
                "1.2_alpha1-r0",
                *("1.2_beta-r0", "1.2_pre-r0", "1.2_rc2-r0", "1.2-r0", "1.2-r1"),
                *("1.2_cvs1", "1.2_svn1", "1.2_git1", "1.2_hg1", "1.2_p1-r0"),
                "1.2a-r0",
                "1.10-r0",
            ],
        ),
        ("apk", ["4.09-r1", "4.5.14", "4.5.14~12-r1", "4.5.14~13-r0", "8.2.0015", "8.2.002", "8.2.1"]),
        ("npm", ["1.0.0-alpha.1", "1.0.0-beta.2", "1.0.0-rc.1", "v1.0.0", "1.0.1", "1.10.0"]),
        ("python", ["1.0.dev1", "1.0a1", "1.0b2", "1.0rc1", "1.0", "1.0.1", "1.10"]),
    ],
)
def test_known_versions_are_sorted(manager: str, ascending: list[str]) -> None:
    key = key_of(manager)
    keys = [key(version) for version in ascending]
    assert all(older < newer for older, newer in pairwise(keys))


@settings(max_examples=200, derandomize=True)
@given(st.lists(st.text(max_size=12), max_size=6))
def test_any_text_has_a_place_in_every_order(texts: list[str]) -> None:
    for key in (dpkg_key, rpm_key, apk_key, common_key):
        assert len(sorted(texts, key=key)) == len(texts)
