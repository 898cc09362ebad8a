"""Files of results in a private directory. Anything amiss with one is a miss."""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import time
import warnings
from contextlib import suppress
from pathlib import Path

from platformdirs import user_cache_path

from pto.core.files import TEMPORARY, write_whole

HEADER = struct.Struct("<8sI32sQ32s")  # magic, version of the format, key, length and sha256 of the content
MAGIC, VERSION = b"PTO-KEEP", 2
SUFFIX = ".bin"
BUILD_DIGITS = 16
KEEP_SECONDS = 14 * 86400  # entries of other builds: other versions, and other processors on a shared disk
STALE_SECONDS = 3600


def default_directory(kind: str = "objects") -> Path:
    """Where files of a kind are kept."""
    base = os.environ.get("PTO_CACHE_DIR")
    return (Path(base) if base else user_cache_path()) / "pto" / kind


class FileCache:
    """The files of one kind and build, by name."""

    def __init__(self, build: str, directory: Path | None = None, *, kind: str = "objects") -> None:
        self.build = build
        self.directory = directory or default_directory(kind)
        self.usable = self._prepare()

    def path(self, name: str) -> Path:
        """The file of a name."""
        return self.directory / f"{self.build[:BUILD_DIGITS]}-{name}{SUFFIX}"

    def get(self, name: str) -> bytes | None:
        """The content of a name, if it is there and sound."""
        if not self.usable:
            return None
        try:
            content = self.path(name).read_bytes()
        except OSError:
            return None
        if len(content) < HEADER.size:
            return None
        magic, form, key, length, digest = HEADER.unpack_from(content)
        body = content[HEADER.size:]
        sound = (magic, form, key, length) == (MAGIC, VERSION, self._key(name), len(body))
        return body if sound and hashlib.sha256(body).digest() == digest else None

    def put(self, name: str, body: bytes) -> None:
        """Keep a content; a full or read-only disk is no error."""
        if not self.usable:
            return
        header = HEADER.pack(MAGIC, VERSION, self._key(name), len(body), hashlib.sha256(body).digest())
        with suppress(OSError):
            write_whole(self.path(name), header + body, mode=0o600)
            self._sweep()

    def _key(self, name: str) -> bytes:
        return hashlib.sha256(f"{self.build}\0{name}".encode()).digest()

    def _prepare(self) -> bool:
        """Make the directory; refuse one that others own or may write to."""
        try:
            self.directory.parent.mkdir(parents=True, exist_ok=True)
            self.directory.mkdir(mode=0o700, exist_ok=True)
            found = self.directory.stat()
        except OSError as err:
            return self._refuse(str(err))
        if found.st_uid != os.getuid():
            return self._refuse("it belongs to another user")
        if stat.S_IMODE(found.st_mode) & 0o022:
            return self._refuse("others may write to it")
        return True

    def _refuse(self, reason: str) -> bool:
        warnings.warn(f"results are not kept in {self.directory}: {reason}", stacklevel=2)
        return False

    def _sweep(self) -> None:
        """Remove what crashes and other builds left behind."""
        now = time.time()
        with os.scandir(self.directory) as entries:
            for entry in entries:
                old = entry.name.endswith(SUFFIX) and not entry.name.startswith(self.build[:BUILD_DIGITS])
                limit = KEEP_SECONDS if old else STALE_SECONDS
                if (old or entry.name.endswith(TEMPORARY)) and now - entry.stat().st_mtime > limit:
                    os.unlink(entry.path)
