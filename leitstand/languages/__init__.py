"""The languages of texts for the public: each has a gettext catalogue in this folder, such as ``de.po``."""

from pathlib import Path

FOLDER = Path(__file__).parent
LANGUAGES = tuple(sorted(catalogue.stem for catalogue in FOLDER.glob("*.po")))
