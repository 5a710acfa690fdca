"""One language of the page: its texts by gettext, its dates and numbers by Babel.

The texts in the code are English. A catalogue in ``leitstand/languages`` translates them; its header names
the locale. Babel takes 7 MiB: the web workers do not load these modules.
"""

from dataclasses import dataclass
from functools import cache
from gettext import GNUTranslations
from io import BytesIO

from babel import Locale
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from leitstand.languages import FOLDER
from status_page.snapshot import Language


@dataclass(frozen=True, slots=True)
class Texts:
    """The translations of one language, and its locale, such as de_DE."""

    locale: Locale
    translations: GNUTranslations

    def gettext(self, text: str) -> str:
        return self.translations.gettext(text)

    def ngettext(self, one: str, many: str, count: int) -> str:
        """The form for ``count`` of an English text of the code in this language."""
        return self.translations.ngettext(one, many, count)


@cache
def texts(language: Language) -> Texts:
    """The texts of a language that has a catalogue."""
    with (FOLDER / f"{language}.po").open("rb") as file:
        catalogue = read_po(file)
    if catalogue.locale is None:
        raise ValueError(f"{FOLDER / language}.po: the header has no Language")
    compiled = BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return Texts(catalogue.locale, GNUTranslations(compiled))


def N_(text: str) -> str:  # noqa: N802 - gettext's name for it
    """Mark a text that is translated later, so that it is extracted into the catalogues."""
    return text
