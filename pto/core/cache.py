"""Files of results in a private directory. Anything amiss with one is a miss."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
import struct
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

from pto.core.errors import UsageError
from pto.core.files import TEMPORARY, write_whole

Place = bytearray | memoryview
HEADER = struct.Struct("<8sI32sQ32s")  # magic, version of the format, key, length and sha256 of the content
MAGIC, VERSION = b"PTO-KEEP", 2
SUFFIX = ".bin"
BUILD_DIGITS = 16
KEEP_SECONDS = 14 * 86400  # entries of other builds: other versions, and other processors on a shared disk
STALE_SECONDS = 3600
CHUNK = 2**20  # bytes that are hashed while they are in the processor's cache
FREE_TIMES = 8  # an entry is kept where so many times its size are free
GIGABYTE = 10**9
_ROOT = Path(__file__).resolve().parent.parent


def default_directory(kind: str = "objects") -> Path:
    """Where files of a kind are kept."""
    base = os.environ.get("PTO_CACHE_DIR")
    return (Path(base) if base else user_cache_path()) / "pto" / kind


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of results.

    Attributes:
        name: of its directory.
        doc: what is in it.
        variable, most: gigabytes that it may take: the variable of the environment that says so, and what holds
            where that is not set; an empty variable: no limit.
    """

    name: str
    doc: str
    variable: str = ""
    most: float = 0

    @property
    def directory(self) -> Path:
        return default_directory(self.name)

    def limit(self) -> int | None:
        """Bytes that it may take; what was used longest ago goes first. None: as many as it needs.

        Raises:
            UsageError: the variable is set to something else than a number of gigabytes.
        """
        if not self.variable:
            return None
        text = os.environ.get(self.variable) or str(self.most)
        try:
            found = int(float(text) * GIGABYTE)
        except (ValueError, OverflowError):
            found = -1
        if found < 0:
            raise UsageError(f"{self.variable} is {text!r}, not a number of gigabytes",
                             hint=f"{self.variable}=0 keeps nothing")
        return found


KINDS = {row.name: row for row in (
    Kind("objects", "instructions of the machine, compiled for this processor"),
    Kind("programs", "kernels, compiled"),
    Kind("weights", "models, packed for products in low precision", "PTO_WEIGHTS_CACHE_GB", 4),
)}


def sources_digest(patterns: Iterable[str]) -> str:
    """Names the sources of pto under some patterns, as they are now."""
    digest = hashlib.sha256()
    for pattern in patterns:
        for path in sorted(_ROOT.glob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def files(directory: Path) -> list[tuple[Path, os.stat_result]]:
    """What is in a directory of results, the one that was used longest ago first; nothing where there is none."""
    found = []
    with suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            with suppress(OSError):  # another process removed it
                if entry.is_file(follow_symlinks=False) and entry.name.endswith((SUFFIX, TEMPORARY)):
                    found.append((Path(entry.path), entry.stat(follow_symlinks=False)))
    return sorted(found, key=lambda row: row[1].st_mtime_ns)


def clear(directory: Path) -> int:
    """Remove the results in a directory; gives how many bytes that frees."""
    freed = 0
    for path, status in files(directory):
        with suppress(OSError):
            path.unlink()
            freed += status.st_size
    return freed


class FileCache:
    """The files of one kind and build, by name.

    Args:
        limit: bytes that the files of the kind may take together; None: what its row says.

    Raises:
        UsageError: as `Kind.limit`.
    """

    def __init__(self, build: str, directory: Path | None = None, *, kind: str = "objects",
                 limit: int | None = None) -> None:
        self.build, self.limit = build, KINDS[kind].limit() if limit is None else limit
        self.directory = directory or default_directory(kind)
        self.usable, self.swept = self._prepare(), False

    def path(self, name: str) -> Path:
        """The file of a name."""
        return self.directory / f"{self.build[:BUILD_DIGITS]}-{name}{SUFFIX}"

    def get(self, name: str) -> bytes | None:
        """The content of a name, if it is there and sound."""
        found: list[bytearray] = []

        def room(length: int) -> list[bytearray]:
            found.append(bytearray(length))
            return found
        return bytes(found[0]) if self._read(name, room) else None

    def fill(self, name: str, places: Sequence[Place]) -> bool:
        """Read the content of a name into places that it fills exactly. If False, there is nothing of use in them."""
        return self._read(name, lambda length: places if sum(map(len, places)) == length else None)

    def put(self, name: str, *parts: bytes | memoryview) -> None:
        """Keep a content, part by part; a full or read-only disk is no error."""
        length = sum(map(len, parts))
        if not self.usable or not self._make_room(HEADER.size + length):
            return
        digest = hashlib.sha256()
        for part in parts:
            digest.update(part)
        header = HEADER.pack(MAGIC, VERSION, self._key(name), length, digest.digest())
        with suppress(OSError):
            # The digest tells what a crash of the system left, so nobody waits for the disk.
            write_whole(self.path(name), header, *parts, mode=0o600, synced=False)
            self._sweep()

    def _key(self, name: str) -> bytes:
        return hashlib.sha256(f"{self.build}\0{name}".encode()).digest()

    def _read(self, name: str, room: Callable[[int], Sequence[Place] | None]) -> bool:
        """Is a content there and sound? Places are made for it once its length is that of the file."""
        if not self.usable:
            return False
        try:
            with open(self.path(name), "rb", buffering=0) as file:
                header = file.read(HEADER.size)
                if len(header) < HEADER.size:
                    return False
                magic, form, key, length, digest = HEADER.unpack(header)
                size = os.fstat(file.fileno()).st_size - HEADER.size
                if (magic, form, key, length) != (MAGIC, VERSION, self._key(name), size):
                    return False
                places = room(length)
                if places is None or _filled(file, places) != digest:
                    return False
                if self.limit is not None:
                    with suppress(OSError):  # the disk cannot be written to: nothing is driven out there
                        os.utime(file.fileno())
                return True
        except OSError:
            return False

    def _make_room(self, size: int) -> bool:
        """Is there room for an entry, at the cost of those that were used longest ago?"""
        try:
            free = shutil.disk_usage(self.directory).free
        except OSError:
            return False
        if size * FREE_TIMES > free or (self.limit is not None and size > self.limit):
            return False
        if self.limit is None:
            return True
        found = files(self.directory)
        over = sum(status.st_size for _, status in found) + size - self.limit
        for path, status in found:
            if over > 0 and path.suffix == SUFFIX:
                with suppress(OSError):
                    path.unlink(missing_ok=True)
                    over -= status.st_size
        return over <= 0

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
        """Remove what crashes and other builds left behind, once in a process."""
        if self.swept:
            return
        self.swept, now = True, time.time()
        for path, status in files(self.directory):
            old = path.suffix == SUFFIX and not path.name.startswith(self.build[:BUILD_DIGITS])
            limit = KEEP_SECONDS if old else STALE_SECONDS
            if (old or path.suffix == TEMPORARY) and now - status.st_mtime > limit:
                with suppress(OSError):
                    path.unlink()


def _filled(file: io.FileIO, places: Sequence[Place]) -> bytes:
    """The digest of what was read into some places; nothing where the file ends before they do."""
    digest = hashlib.sha256()
    for place in places:
        left = memoryview(place)
        while left:
            count = file.readinto(left[:CHUNK])
            if not count:
                return b""
            digest.update(left[:count])
            left = left[count:]
    return digest.digest()
