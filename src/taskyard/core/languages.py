"""The languages of our texts, in a project that may have others."""

from django.utils import translation

LANGUAGES = ("ru", "en")


def shown_language() -> str:
    """The active language if our texts are translated to it, or else English.

    Django and its apps translate many of the same texts. In a third language some of an answer's
    texts would be in that language, and others in English.
    """
    active = translation.get_language() or "en"
    return active if active.partition("-")[0] in LANGUAGES else "en"
