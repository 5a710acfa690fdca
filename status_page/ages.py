"""The age of a measurement, filled in when an old page is sent, by a web worker without Babel."""

from bisect import bisect_right
from operator import itemgetter

from status_page.snapshot import Language

SECONDS = "\ue000seconds\ue001"  # placeholder for a number in JSON
MARK = "\ue000{}\ue001"  # placeholder for an age in words in a text
Ages = dict[Language, list[tuple[int, str]]]  # minimum age in seconds, the words for it; ascending


def filled(text: str, seconds: float, ages: Ages) -> str:
    """A document with its placeholders replaced by the age of its measurement."""
    text = text.replace(f'"{SECONDS}"', str(int(seconds)))
    for language, steps in ages.items():
        index = bisect_right(steps, seconds, key=itemgetter(0)) - 1
        text = text.replace(MARK.format(language), steps[max(0, index)][1])
    return text
