"""Lock an open file, so that one process or client at a time uses it; on Windows too."""

import sys


def try_lock(descriptor: int) -> bool:
    """Lock an open file until it is closed; False if it is locked already.

    Windows locks the byte at the current position. Raises OSError if the file system has no locks.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # on Windows the latter
        return False
    return True
