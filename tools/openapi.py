"""Write docs/openapi.json as a server with the built-in task types serves it:
`python tools/openapi.py`. A test compares the two."""

import json
import os
import sys
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent.parent / "docs" / "openapi.json"


def written(document: Any) -> str:
    """The text of the file."""
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def main() -> int:
    from taskyard.server.django_setup import load_django

    os.environ.setdefault("DJANGO_SECRET_KEY", os.urandom(32).hex())
    load_django()
    from django.test import Client

    answer = Client().get("/api/schema/", HTTP_HOST="localhost")
    FILE.write_text(written(answer.json()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
