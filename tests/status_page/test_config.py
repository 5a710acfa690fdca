from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from leitstand.settings.config import check, load_document
from leitstand.settings.fields import split_listen
from leitstand.settings.fleet import Fleet
from status_page.config import StatusPage, fresh_seconds, state_folder, unknown_seconds


def problems(folder, **content):
    path = folder / "leitstand.yml"
    path.write_text(yaml.safe_dump(content))
    return [str(problem) for problem in check(load_document(path))]


def test_a_misspelt_key_is_refused(tmp_path):
    [problem] = problems(tmp_path, status_page={"intervall": "15s"})
    assert "status_page.intervall: unknown key; did you mean 'interval'?" in problem


@pytest.mark.parametrize(
    ("section", "what"),
    [
        ({"listen": "8080"}, "is written as"),
        ({"prometheus": "localhost:9090"}, "http"),
        ({"interval": "0s"}, "must be 1 second or more"),
        ({"workers": 0}, "must be 1 or more"),
        ({"fresh_for": "3m", "unknown_after": "1m"}, "unknown_after must be longer"),
        ({"unknown_after": "48h"}, "forget_after must be longer"),
        ({"folder": "relative"}, "absolute"),
        ({"fresh_for": "20s"}, "the page would flicker"),
    ],
)
def test_a_wrong_value_is_reported_with_its_place(tmp_path, section, what):
    [problem] = problems(tmp_path, status_page=section)
    assert what in problem
    assert "status_page" in problem


def test_freshness_follows_slow_probing_and_can_be_set():
    assert (fresh_seconds(StatusPage(), Fleet()), unknown_seconds(StatusPage(), Fleet())) == (60, 180)
    slow = Fleet.model_validate({"probing": {"interval": "30s"}})
    assert (fresh_seconds(StatusPage(), slow), unknown_seconds(StatusPage(), slow)) == (120, 360)
    short = StatusPage.model_validate({"fresh_for": "4s", "unknown_after": "9s"})
    assert (fresh_seconds(short, Fleet()), unknown_seconds(short, Fleet())) == (4, 9)


def test_the_state_folder_can_be_moved():
    fleet = Fleet.model_validate({"paths": {"state": "/srv/state"}})
    assert state_folder(StatusPage(), fleet) == Path("/srv/state/status-page")
    assert state_folder(StatusPage.model_validate({"folder": "/srv/page"}), fleet) == Path("/srv/page")


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:80", ("127.0.0.1", 80)), ("[::1]:0", ("::1", 0)), ("host:1", ("host", 1))],
)
def test_addresses_to_listen_on(text, address):
    assert split_listen(text) == address


def test_settings_cannot_be_changed():
    with pytest.raises(ValidationError):
        StatusPage().interval = 3
