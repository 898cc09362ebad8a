"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

TEMPORARY = ".tmp"  # how the names of files end that are being written
NAME_LIMIT = 64  # characters of the name that the one of the unfinished file has


def write_whole(path: Path, *content: bytes | memoryview, mode: int = 0o666, synced: bool = True) -> None:
    """Write a file; whatever happens, the path holds the old file or the whole new one.

    Args:
        content: its parts, one after the other.
        mode: who may read it and write to it, as far as the process grants that to new files.
        synced: wait until it is on the disk: not even a crash of the system leaves the path with half a file.

    Raises:
        OSError: the file cannot be written.
    """
    temporary = path.with_name(f".{path.name[:NAME_LIMIT]}.{secrets.token_hex(8)}{TEMPORARY}")
    try:
        with os.fdopen(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode), "wb") as file:
            file.writelines(content)
            if synced:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
