"""The proof: only what Prometheus has scraped from a running program counts."""

from hypothesis import given
from hypothesis import strategies as st

from leitstand.prometheus import Prometheus, Sample
from rollout.apply.proof import Runs, differences, what_runs

RUNS = st.builds(Runs, st.sampled_from(["", "1.0", "1.1"]), st.sampled_from(["", "aa", "bb"]))
FLEET = st.dictionaries(st.sampled_from("abc"), RUNS)


class _Scraped(Prometheus):
    """web1 was restarted; its old series has not ended yet. web2 is down, its series neither."""

    def __init__(self) -> None:
        pass

    def vector(self, expression: str, at: float | None = None) -> list[Sample]:
        if expression.startswith("up"):
            return [Sample({"instance": "web1"}, 1.0)]
        label, old, new = (
            ("version", "1.0", "1.1") if "build_info" in expression else ("configuration", "aa", "bb")
        )
        return [
            Sample({"instance": "web1", label: new}, 200.0),
            Sample({"instance": "web1", label: old}, 100.0),
            Sample({"instance": "web2", label: new}, 100.0),
        ]


def test_the_newest_series_of_a_host_that_is_up_counts() -> None:
    assert what_runs(_Scraped()) == {"web1": Runs("1.1", "bb")}


@given(FLEET, FLEET)
def test_a_host_is_proven_only_by_the_wanted_release_and_configuration(
    wanted: dict[str, Runs], runs: dict[str, Runs]
) -> None:
    unproven = dict(differences(wanted, runs))
    assert unproven.keys() <= wanted.keys()
    for host, want in wanted.items():
        assert (host not in unproven) == (bool(want.release) and runs.get(host) == want)


def test_each_difference_is_one_line_that_names_what_runs() -> None:
    wanted = dict.fromkeys(["a", "b", "c", "d"], Runs("1.1", "bb"))
    runs = {"a": Runs("1.0", "bb"), "b": Runs("1.1", "aa"), "c": Runs("1.1")}
    assert dict(differences(wanted, runs)) == {
        "a": "runs release 1.0, not 1.1",
        "b": "runs configuration aa, not bb",
        "c": "runs configuration of another origin, not bb",
        "d": "what it runs is unknown: Prometheus does not reach it",
    }
