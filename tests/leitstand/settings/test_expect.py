"""An ``expect`` that the prober could not match is told by ``leitstand check``, not by a failing prober."""

import pytest

from leitstand.settings.config import check, load_document


@pytest.mark.parametrize(
    ("expect", "told"),
    [
        ("Will(?=kommen)", "blackbox_exporter cannot match this: lookahead and lookbehind are not supported"),
        (r"(a)\1", "blackbox_exporter cannot match this: backreferences are not supported"),
        ("a{1001}", "blackbox_exporter cannot match this: more than 1000 repetitions are not supported"),
        ("(", "not a regular expression: missing ), unterminated subpattern at position 0"),
    ],
)
def test_a_pattern_of_the_wrong_kind_is_a_problem_at_its_line(expect, told, tmp_path):
    file = tmp_path / "leitstand.yml"
    file.write_text(
        f"services:\n  web:\n    name: Web\n    url: 'http://x.example/'\n    expect: '{expect}'\n"
    )
    (problem,) = check(load_document(file))
    assert (problem.line, problem.path) == (5, "services.web.expect")
    assert problem.what.startswith(told)
