"""The age of a measurement, filled in when an old page is sent: by a web worker, which has no Babel."""

from bisect import bisect_right
from operator import itemgetter

from status_page.snapshot import Language

SECONDS = "\ue000seconds\ue001"  # stands in JSON for a number
MARK = "\ue000{}\ue001"  # stands in a text of a language for an age in words
Ages = dict[Language, list[tuple[int, str]]]  # from how many seconds on, in words; ascending


def filled(text: str, seconds: float, ages: Ages) -> str:
    """A document with the age of its measurement in the marked places."""
    text = text.replace(f'"{SECONDS}"', str(int(seconds)))
    for language, steps in ages.items():
        index = bisect_right(steps, seconds, key=itemgetter(0)) - 1
        text = text.replace(MARK.format(language), steps[max(0, index)][1])
    return text
