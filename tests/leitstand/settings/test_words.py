"""Every error that validation knows has words, and the types of single values keep what they promise."""

from collections import defaultdict
from datetime import timedelta
from typing import Annotated, Literal, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Discriminator, Field, Tag, TypeAdapter, ValidationError
from pydantic_core.core_schema import ErrorType

from leitstand.settings.models import Duration, Model, Name, SettingError, duration_text, parse_duration
from leitstand.settings.places import Place, locate
from leitstand.settings.problems import dotted
from leitstand.settings.words import explain

PYDANTICS_WORDS = "Input should be a valid thing"


@pytest.mark.parametrize("kind", get_args(ErrorType))
@pytest.mark.parametrize("value", [None, 5, "text", [], {}], ids=repr)
def test_each_kind_of_error_has_a_message_of_ours(kind, value):
    context = defaultdict(lambda: "1", error=ValueError("ours"))
    detail = {"type": kind, "msg": PYDANTICS_WORDS, "input": value, "ctx": context, "own": False}
    what, hint = explain(detail, Place(path=("hosts", "web1", "address")))
    assert what
    assert PYDANTICS_WORDS not in what + hint


class Left(Model):
    """One kind."""

    type: Literal["left"]
    files: int = 0


class Right(Model):
    """Another kind."""

    type: Literal["right"]
    rows: int = 0


Side = Annotated[
    Annotated[Left, Tag("files")] | Annotated[Right, Tag("rows")], Discriminator(lambda value: "files")
]


class Inner(Model):
    """Holds unions of both sorts."""

    tagged: list[Side] = Field(default=[])
    named: dict[Name, Annotated[Left | Right, Field(discriminator="type")]] = Field(default={})
    plain: Left | int | None = None
    maybe: Left | None = None


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({"tagged": [{"type": "left", "files": "x"}]}, "tagged[0].files"),
        ({"tagged": [{"type": "left"}, {"type": "left", "fiels": 1}]}, "tagged[1].fiels"),
        ({"named": {"files": {"type": "left", "files": "x"}}}, "named.files.files"),
        ({"named": {"left": {"type": "right", "right": 1}}}, "named.left.right"),
        ({"named": {"A": {"type": "left"}}}, "named.A"),
        ({"named": {"a": {"type": "up"}}}, "named.a"),
        ({"plain": {"type": "left", "files": "x"}}, "plain.files"),
        ({"maybe": {"type": "left", "files": "x"}}, "maybe.files"),
        ({"maybe": {"files": 1}}, "maybe.type"),
    ],
)
def test_the_path_of_an_error_is_the_one_in_the_file(data, path):
    with pytest.raises(ValidationError) as caught:
        Inner.model_validate(data)
    assert path in {dotted(locate(Inner, detail["loc"]).path) for detail in caught.value.errors()}


def test_a_hint_knows_the_keys_of_the_kind_that_was_meant():
    place = locate(Inner, ("tagged", 0, "files", "fiels"))
    assert place.beside == ["type", "files"]


@settings(derandomize=True)
@given(st.integers(0, 10**12))
def test_a_duration_is_read_back_as_it_was_written(milliseconds):
    duration = timedelta(milliseconds=milliseconds)
    assert parse_duration(duration_text(duration)) == duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("1h30m", 5400), ("1h 30m", 5400), ("2d", 172800), ("1w", 604800), ("1.5h", 5400)],
)
def test_a_duration_is_numbers_with_units(text, seconds):
    assert parse_duration(text).total_seconds() == seconds


@settings(derandomize=True, max_examples=300)
@given(
    st.text(alphabet="0123456789smhdw. -", max_size=12)
    | st.text(max_size=5)
    | st.integers()
    | st.none()
    | st.booleans()
)
def test_anything_is_a_duration_or_refused(value):
    try:
        assert TypeAdapter(Duration).validate_python(value) >= timedelta(0)
    except ValidationError as error:
        assert [detail["type"] for detail in error.errors()] == ["value_error"]


@settings(derandomize=True, max_examples=300)
@given(st.text(min_size=1, max_size=80))
def test_a_name_that_is_proposed_is_a_good_name(text):
    names = TypeAdapter(Name)
    try:
        names.validate_python(text)
    except ValidationError as error:
        refused = error.errors()[0]["ctx"]["error"]
        assert isinstance(refused, SettingError)
        if refused.hint.startswith("write "):
            names.validate_python(refused.hint.removeprefix("write '").removesuffix("'"))
