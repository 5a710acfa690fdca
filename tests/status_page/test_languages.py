"""Catalogues hold every text; one more file is one more language, with nothing else to change."""

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from string import Formatter

import pytest
import yaml
from babel.messages.pofile import read_po, write_po

from lab.checkout import packages
from leitstand.languages import FOLDER, LANGUAGES
from status_page import ready
from status_page.rendering import bundle
from status_page.round import Memory, snapshot
from status_page.states import Observation
from status_page.texts import texts

REPOSITORY = Path(__file__).parents[2]
# What stands on a page and is no text of ours: names, figures, dates, names of languages.
MONTH = r"\d (stycz|lut|mar|kwie|maj|czerw|lip|sierp|wrze|paźdz|listop|grud)\w+ 20\d\d, «"
DATA = re.compile(r"Rennteam|Racing team|Strona|Mail|Deutsch|English|polski|JSON|·|\(\d+\)|[\d:, ]+")


def pybabel(*arguments, cwd=REPOSITORY):
    subprocess.run([sys.executable, "-m", "babel.messages.frontend", "-q", *arguments], check=True, cwd=cwd)


def read(path):
    with path.open("rb") as file:
        return read_po(file, abort_invalid=True)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The texts of the code, extracted as CONTRIBUTING.md says."""
    path = tmp_path_factory.mktemp("texts") / "status_page.pot"
    pybabel("extract", "-F", "pyproject.toml", "-o", str(path), "status_page")
    return path


def blanks(text):
    return {name for _, name, _, _ in Formatter().parse(text) if name}


@pytest.mark.parametrize("language", sorted({*LANGUAGES} - {"en"}))
def test_a_catalogue_translates_every_text_of_the_code_and_keeps_its_blanks(template, language):
    catalogue = read(FOLDER / f"{language}.po")
    assert {message.id for message in catalogue} == {message.id for message in read(template)}
    for message in list(catalogue)[1:]:
        originals, forms = (
            [each] if isinstance(each, str) else each for each in (message.id, message.string)
        )
        assert not message.fuzzy, message.id
        assert all(forms), message.id
        assert all(blanks(form) <= blanks("".join(originals)) for form in forms), message.id
        assert blanks(forms[-1]) == blanks(originals[-1]), message.id


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_catalogue_is_named_by_a_language_code_and_can_be_used(language):
    assert re.fullmatch("[a-z]{2,3}", language)  # as lang= and Accept-Language have it
    assert texts(language).locale.language == language
    english = {"{names} is down", "{names} are down"}
    said = {texts(language).ngettext("{names} is down", "{names} are down", count) for count in range(200)}
    assert said == english if language == "en" else said.isdisjoint(english)


@pytest.fixture
def copy(tmp_path: Path, template: Path) -> Path:
    """The code with one more catalogue, in which every text stands in marks."""
    for package in packages():
        shutil.copytree(
            REPOSITORY / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    polish = tmp_path / "leitstand" / "languages" / "pl.po"
    pybabel("init", "-i", str(template), "-l", "pl_PL", "-o", str(polish))
    catalogue = read(polish)
    for message in list(catalogue)[1:]:
        texts = [message.id] if isinstance(message.id, str) else message.id
        forms = tuple(f"«{text}»" for text in (texts[0], texts[-1], texts[-1]))
        message.string = forms if message.pluralizable else forms[0]
    with polish.open("wb") as file:
        write_po(file, catalogue)
    return tmp_path


def leitstand(copy, *arguments):
    command = [sys.executable, "-m", "leitstand", *arguments]
    return subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)


def test_one_more_catalogue_is_one_more_language(copy, configuration, liar):
    content = configuration(copy, prometheus=liar.url)
    content["site"]["languages"] = ["pl", "en"]
    content["services"]["website"]["name"]["pl"] = "Strona"
    settings = copy / "leitstand.yml"
    settings.write_text(yaml.safe_dump(content))
    liar.vectors(
        {
            "timestamp(probe": [({"service": name}, "1") for name in ("website", "mail")],
            "timestamp(service:raw": [({}, "1")],
            "service:verdict": [({"service": "website"}, "0"), ({"service": "mail"}, "1")],
            "vantage:connected": [({"vantage": place}, "1") for place in ("a", "b", "c", "d", "e")],
        }
    )
    checked = leitstand(copy, "check", "--config", str(settings))
    assert (checked.returncode, checked.stderr) == (0, "")
    collected = leitstand(copy, "status-page", "collect", "--once", "--config", str(settings))
    pages = copy / "state" / "status-page" / "current"
    page = (pages / "fresh" / "pl" / "index.html").read_text()
    assert "<h1>«Strona is down»</h1>" in page, collected.stderr
    assert "«from 5 locations»" in page
    assert re.search(MONTH, page)
    visible = re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL)
    texts = [text.strip() for text in re.split(r"<[^>]*>", visible)]
    assert [text for text in texts if text and "«" not in text and not DATA.fullmatch(text)] == []
    assert "12 minut temu" in dict(json.loads((pages / "manifest.json").read_bytes())["ages"]["pl"]).values()
    errors = leitstand(copy, "check", "--config", write(copy / "wrong.yml", "site: {languages: [fr]}"))
    assert "site.languages[0]: must be 'de', 'en' or 'pl'" in errors.stderr


def write(path, text):
    path.write_text(text)
    return str(path)


WORKER = """
import sys
from pathlib import Path
from status_page.app import build_application
from status_page.commands import _settings

plan, _ = _settings(Path(sys.argv[1]))
application = build_application(plan, plan.folder)
for path in ("/de/", "/nothing"):
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "SERVER_NAME": "x", "SERVER_PORT": "80"}
    environ |= {"HTTP_ACCEPT_LANGUAGE": "de", "wsgi.url_scheme": "http", "wsgi.input": sys.stdin.buffer}
    print(*(part.decode() for part in application(environ, lambda *_: None)))
print("with Babel" if "babel" in sys.modules else "without Babel")
"""


def test_a_web_worker_sends_old_pages_and_errors_without_the_memory_of_babel(tmp_path, configuration, plan):
    settings = write(tmp_path / "leitstand.yml", yaml.safe_dump(configuration(tmp_path)))
    made, then = plan(), time.time() - 600
    seen = {"mail": Observation("up", then), "website": Observation("up", then)}
    ready.publish(made.folder, bundle(snapshot(made, Memory(observations=seen), then)))
    done = subprocess.run(
        [sys.executable, "-c", WORKER, settings], capture_output=True, text=True, check=True
    )
    assert "(vor 10 Minuten)" in done.stdout
    assert "Diese Seite gibt es hier nicht." in done.stdout
    assert done.stdout.endswith("without Babel\n")
