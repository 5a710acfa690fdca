"""The age of a measurement, filled in when an old page is sent: by a web worker, which has no Babel."""

from bisect import bisect_right
from operator import itemgetter

from status_page.snapshot import Language, PublicSnapshot
from status_page.words import duration

SECONDS = "\ue000seconds\ue001"  # stands in JSON for a number
MARK = "\ue000{}\ue001"  # stands in a text of a language for an age in words
Ages = dict[Language, list[tuple[int, str]]]  # from how many seconds on, in words; ascending


def spoken(snapshot: PublicSnapshot) -> Ages:
    """Every age in words that pages of this snapshot can have until it expires."""
    if snapshot.measured_at is None:
        return {}
    last = int(snapshot.expires_at - snapshot.measured_at)
    steps = (range(60), range(60, 7200, 60), range(7200, 172_800, 3600), range(172_800, last, 86_400))
    return {
        language: [(age, duration(age, language, ago=True)) for step in steps for age in step]
        for language in snapshot.languages
    }


def filled(text: str, seconds: float, ages: Ages) -> str:
    """A document with the age of its measurement in the marked places."""
    text = text.replace(f'"{SECONDS}"', str(int(seconds)))
    for language, steps in ages.items():
        index = bisect_right(steps, seconds, key=itemgetter(0)) - 1
        text = text.replace(MARK.format(language), steps[max(0, index)][1])
    return text
