"""Translations of the command line's own texts. The server translates what it sends."""

import gettext as translations
import os
from functools import cache
from pathlib import Path

LANGUAGES = ("en", "ru")
DOMAIN = "django"  # the catalogue name that tools/makemessages.py uses


@cache
def language() -> str:
    """The language of the locale, chosen as the C library does; English if we lack it."""
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
    """Translate a text of the command line."""
    return text if language() == "en" else _catalogue().gettext(text)
