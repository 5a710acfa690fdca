"""The roll-outs on disk: which ended well, which stay, and that only one runs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leitstand.errors import LeitstandError
from rollout.apply.deployments import Deployment, Deployments, Outcome
from rollout.apply.plan import own_prometheus
from rollout.apply.status import fleet_rows

HOLDER = """
import sys
from pathlib import Path
from rollout.apply.deployments import Deployments
with Deployments(Path(sys.argv[1])).locked("anna", "2026-11-30T12:00:00+00:00"):
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def deployments(tmp_path: Path) -> Deployments:
    (tmp_path / "deployments").mkdir()
    return Deployments(tmp_path / "deployments")


def made(deployments: Deployments, good: bool | None, release: str = "1.0") -> Deployment:
    """One more roll-out; ``good`` is None for one that did not finish."""
    new = deployments.new()
    hosts = {"control": {"leitstand_roles": ["leitstand"], "file": f"{new.folder}/rendered"}}
    new.inventory.write_text(json.dumps({"all": {"hosts": hosts}}))
    if good is not None:
        new.end(Outcome(good, release, {"control": "aa"}, {}, "anna", "2026-11-30T12:00:00+00:00"))
    return new


@given(st.lists(st.sampled_from([True, False, None]), max_size=12))
def test_the_last_three_good_roll_outs_stay_and_all_that_came_after_them(
    tmp_path_factory: pytest.TempPathFactory, ends: list[bool | None]
) -> None:
    deployments = Deployments(tmp_path_factory.mktemp("deployments"))
    numbers = [made(deployments, end).number for end in ends]
    good = [number for number, end in zip(numbers, ends, strict=True) if end]
    deployments.clean_up()
    first = good[-3] if len(good) > 3 else 0
    assert [one.number for one in deployments.all()] == [number for number in numbers if number >= first]
    last = deployments.last_good()
    assert (last.number if last else None) == (good[-1] if good else None)


def test_numbers_go_on_and_are_never_given_again(deployments: Deployments) -> None:
    assert [made(deployments, None).number for _ in range(3)] == [1, 2, 3]
    assert made(deployments, True).number == 4


def test_one_that_did_not_finish_or_has_a_damaged_record_is_not_good(deployments: Deployments) -> None:
    good = made(deployments, True)
    for content in ("", "[]", "{", '{"good": true}', '{"good": true, "release": 1, "more": 2}'):
        (made(deployments, None).folder / "outcome.json").write_text(content)
    assert deployments.last_good() == good


def test_an_earlier_release_is_replayed_from_its_own_files(deployments: Deployments) -> None:
    old = made(deployments, True, "1.0")
    made(deployments, True, "1.1")
    found = deployments.last_good("1.0")
    assert found == old
    again = deployments.again(old)
    assert again.number == 3
    assert again.outcome() is None, "it has to earn its own"
    assert again.roles() == ({"control": ["leitstand"]}, "control")
    assert str(old.folder) not in again.inventory.read_text()
    assert deployments.last_good("0.9") is None


def test_a_second_run_is_refused_and_names_the_first_and_a_dead_one_holds_no_lock(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with holder:
        assert holder.stdout
        assert holder.stdout.readline() == "locked\n"
        with (
            pytest.raises(LeitstandError, match=rf"anna, since 2026-11-30T12:00:00.*process {holder.pid}"),
            Deployments(tmp_path).locked("bert", "now"),
        ):
            pass
        holder.kill()
    with Deployments(tmp_path).locked("bert", "now"):
        assert (tmp_path / "lock").read_text().startswith("bert, since now")


def test_status_without_any_roll_out_names_the_next_step(deployments: Deployments) -> None:
    with pytest.raises(LeitstandError, match="nothing was rolled out") as caught:
        fleet_rows(deployments, own_prometheus())
    assert "leitstand apply" in caught.value.hint
