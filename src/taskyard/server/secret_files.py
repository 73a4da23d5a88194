"""Create the secrets of a compose installation: `python -m taskyard.server.secret_files FOLDER`."""

import base64
import secrets
import sys
from collections.abc import Callable
from pathlib import Path

DATABASE_HOST = "postgres"


def make(folder: Path) -> list[str]:
    """Write the files that are missing; returns their names.

    Every user may read them, because the PostgreSQL image reads its password under a user id of its
    own. Only containers that mount the volume can see the files.
    """
    written = []

    def once(name: str, content: Callable[[], str]) -> str:
        file = folder / name
        if not file.exists():
            draft = folder / f".{name}"
            draft.write_text(content())
            draft.chmod(0o444)
            draft.rename(file)
            written.append(name)
        return file.read_text()

    folder.chmod(0o755)
    once("django-key", lambda: secrets.token_urlsafe(48))
    once("encryption-key", lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())
    password = once("database-password", lambda: secrets.token_hex(24))
    once("database-url", lambda: f"postgresql://taskyard:{password}@{DATABASE_HOST}/taskyard")
    return written


if __name__ == "__main__":
    sys.stderr.write(f"taskyard: made {make(Path(sys.argv[1])) or 'nothing new'}\n")
