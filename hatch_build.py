"""Make the readme of the package from README.md."""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

ALONE = re.compile(r"^!?\[[^\]]*\]\((?!https?://)[^)]*\)\n+", re.MULTILINE)
LINK = re.compile(r"\[([^\]]*)\]\((?!https?://)[^)]*\)")
LAST_SECTION = "\n## More\n"


def package_readme(text: str) -> str:
    """The README without what works only in the repository.

    It loses relative links, pictures and the section of links at the end.
    """
    return LINK.sub(r"\1", ALONE.sub("", text.partition(LAST_SECTION)[0])).rstrip() + "\n"


class ReadmeHook(MetadataHookInterface):
    """Sets the dynamic field `readme` of pyproject.toml."""

    def update(self, metadata: dict[str, Any]) -> None:
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": package_readme(text)}
