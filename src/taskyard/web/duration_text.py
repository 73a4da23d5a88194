"""Durations as text."""

from django.utils.formats import number_format
from django.utils.translation import gettext as _

SECONDS_PER_UNIT = (86400, 3600, 60, 1)


def unit_names() -> list[str]:
    """Days, hours, minutes, seconds and milliseconds in the active language."""
    return [_("d"), _("h"), _("min"), _("s"), _("ms")]


def format_duration(seconds: float, *, parts: int = 2) -> str:
    """``3 min 5 s``: the largest units, ``parts`` at most; ``3.2 s`` and ``15 ms`` if shorter.

    `formatDuration` in page.js does the same for durations that grow on an open page.
    """
    seconds = max(0.0, seconds)
    *names, milliseconds = unit_names()
    if seconds < 1 and parts > 1:
        return f"{round(seconds * 1000)} {milliseconds}"
    if seconds < 10 and parts > 1:
        return f"{number_format(round(seconds, 1), 1)} {names[-1]}"
    rest = int(seconds)
    texts: list[str] = []
    for size, name in zip(SECONDS_PER_UNIT, names, strict=True):
        if rest >= size or (size == 1 and not texts):
            texts.append(f"{rest // size} {name}")
            rest %= size
        if len(texts) == parts:
            break
    return " ".join(texts)
