"""Names of files, as users give them: cleaned, so that no program takes them for a path."""

import re
import unicodedata

LONGEST = 200
UNNAMED = "file"
# Separators and signs that a shell, Windows or a header reads otherwise.
_FORBIDDEN = re.compile(r'[/\\:*?"<>|]')
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")


def clean(name: str) -> str:
    """The last part of a path, without control and direction signs, of at most 200 characters.

    The extension of a longer name is kept.
    """
    name = unicodedata.normalize("NFC", re.split(r"[/\\]", name)[-1])
    name = "".join(sign for sign in name if unicodedata.category(sign)[0] != "C")
    name = _FORBIDDEN.sub("_", name).strip(" .")
    if not name or _RESERVED.fullmatch(name):
        name = f"{UNNAMED}_{name}".rstrip("_")
    if len(name) > LONGEST:
        stem, dot, extension = name.rpartition(".")
        kept = dot + extension if stem and len(extension) <= 20 else ""
        name = name[: LONGEST - len(kept)] + kept
    return name
