"""The command line's own words, in the language of the locale; the server's come from it."""

import gettext as translations
import os
from functools import cache
from pathlib import Path

LANGUAGES = ("en", "ru")
DOMAIN = "django"  # what tools/makemessages.py calls every catalogue


@cache
def language() -> str:
    """Of the locale, as the C library chooses it; English where it is none of ours."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if value := os.environ.get(name):
            code = value.partition("_")[0].partition(".")[0].lower()
            return code if code in LANGUAGES else "en"
    return "en"


@cache
def _catalogue() -> translations.NullTranslations:
    folder = Path(__file__).parent / "locale"
    return translations.translation(DOMAIN, folder, [language()], fallback=True)


def gettext(text: str) -> str:
    """A text of ours in the language of the locale."""
    return text if language() == "en" else _catalogue().gettext(text)
