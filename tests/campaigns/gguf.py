"""Structured mutants of model files against their readers: `python -m tests.campaigns.gguf --count 100000`.

A mutant is either read whole, every element of it, or refused with one kind of error that names file, offset and
field. Batches run in child processes with limits on memory and processor time: a signal, a hang, a foreign exception or
unbounded memory is reported with the number of the mutant, which makes it again.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import random
import re
import resource
import signal
import string
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from struct import Struct, pack

import numpy as np

from pto.core.errors import MissingPackageError, ModelError, PtoFormatError
from pto.models import gguf, safetensors
from pto.models.chat import recognise
from pto.models.checkpoint import from_gguf
from pto.models.export import save_gguf
from pto.models.gguf_writer import dumps
from pto.models.hugging_face import CONFIG, TOKENIZER, TOKENIZER_CONFIG, read_config, read_vocabulary
from pto.models.stored import StoredTensor
from pto.models.tokenizer import build
from tests.models.files import SMALL, content, described, random_weights, rewritten, safetensors_bytes, seed_file

BATCH, SECONDS, MEMORY = 200, 30, 2**26  # a child's mutants, processor time, and address space beyond its start
_WORD = re.compile(rb'"[^"]*"|-?[0-9.]+|null|true|false')
FORBIDDEN = {"exec", "compile", "pickle.find_class", "marshal.loads", "os.system", "os.exec", "subprocess.Popen",
             "socket.connect", "urllib.Request", "ctypes.dlopen"}
SEPARATOR = b"\x1e"
_STATE = Struct("<QQ")  # the number of the mutant, how many were accepted
INTERESTING = (0, 1, 2, 3, 4, 7, 8, 31, 32, 33, 64, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**16, 2**24, 2**31 - 1,
               2**31, 2**32 - 1, 2**32, 2**40, 2**61 + 1, 2**62, 2**63 - 1, 2**63, 2**64 - 32, 2**64 - 1)
TEXTS = (b"\x1b[31m", b"\x00", b"\xff\xfe", "\u202e".encode(), b"</script>", b"x" * 70, b"")


@cache
def gguf_seeds() -> tuple[bytes, ...]:
    return (seed_file(), seed_file(1, 1), seed_file(64, 2), dumps({}, []),
            dumps({"tokenizer.ggml.tokens": ["a", "b"] * 20}, [], alignment=8))


@cache
def safetensors_seeds() -> tuple[bytes, ...]:
    weights = random_weights(SMALL)
    few = {name: weights[name] for name in ("norm", "attn_norm", "key")}
    return (safetensors_bytes(few, metadata={"format": "pt"}), safetensors_bytes(few, storage="BF16"),
            safetensors_bytes({}), safetensors_bytes({"a": np.ones((1, 2, 3), np.float32)}, storage="F16"))


@cache
def model_seeds() -> tuple[bytes, ...]:
    """Models of one small layer, so that most mutants change what describes them."""
    config = replace(SMALL, layers=1, vocab=257, bos=256, stop=(256,))
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "m.gguf"
        save_gguf(path, config, random_weights(config))
        return (path.read_bytes(),)


@cache
def folder_seeds() -> tuple[bytes, ...]:
    names = ["<s>", "ab", *string.printable[10:50]]
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "normalizer": None, "post_processor": {
            "type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                                                     {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [], "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}}},
        "added_tokens": [{"id": 0, "content": "<s>", "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": False, "special": True}],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": {name: number for number, name in enumerate(names)}, "merges": [["a", "b"]]},
    }
    scaled = described(SMALL) | {"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                                                  "high_freq_factor": 4.0, "original_max_position_embeddings": 32}}
    template = {"chat_template": "<|im_start|>system\nBe kind<|im_end|>"}
    return tuple(SEPARATOR.join(json.dumps(part).encode() for part in (config, tokenizer, template))
                 for config in (described(SMALL), scaled))


def mutant(seeds: tuple[bytes, ...], number: int, header_bytes: int = 900) -> bytes:
    """The mutant of a number; most changes fall on the header."""
    rng = random.Random(number)
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        rng.choice(MUTATIONS)(data, rng, min(header_bytes, len(data)), seeds)
    return bytes(data)


def _place(rng: random.Random, data: bytearray, span: int) -> int:
    return rng.randrange(max(1, span if rng.random() < 0.9 else len(data)))


def _integer(data: bytearray, rng: random.Random, span: int, seeds: tuple[bytes, ...]) -> None:
    width = rng.choice((1, 2, 4, 4, 8, 8, 8))
    value = rng.choice(INTERESTING) if rng.random() < 0.8 else rng.getrandbits(64)
    at = _place(rng, data, span)
    data[at:at + width] = pack("<Q", value)[:width]


def _count(data: bytearray, rng: random.Random, span: int, seeds: tuple[bytes, ...]) -> None:
    """One of the fields that every file has: lengths and counts of the fixed header."""
    at, width = rng.choice(((0, 4), (4, 4), (8, 8), (16, 8), (24, 8), (0, 8)))
    data[at:at + width] = pack("<Q", rng.choice(INTERESTING))[:width]


def _nudge(data: bytearray, rng: random.Random, span: int, seeds: tuple[bytes, ...]) -> None:
    if data:
        at = _place(rng, data, span)
        data[at] = (data[at] + rng.choice((-1, 1, 8, 32, 128))) % 256


def _flip(data: bytearray, rng: random.Random, span: int, seeds: tuple[bytes, ...]) -> None:
    if data:
        data[_place(rng, data, span)] ^= 1 << rng.randrange(8)


def _cut(data: bytearray, rng: random.Random, span: int, seeds: tuple[bytes, ...]) -> None:
    del data[_place(rng, data, span):]


def _remove(data: bytearray, rng: random.Random, span: int, seeds: tuple[bytes, ...]) -> None:
    at = _place(rng, data, span)
    del data[at:at + rng.choice((1, 4, 8, 16, 32))]


def _insert(data: bytearray, rng: random.Random, span: int, seeds: tuple[bytes, ...]) -> None:
    at = _place(rng, data, span)
    data[at:at] = rng.choice(TEXTS) if rng.random() < 0.5 else bytes(rng.choice((1, 4, 8, 32)))


def _splice(data: bytearray, rng: random.Random, span: int, seeds: tuple[bytes, ...]) -> None:
    other, at = rng.choice(seeds), _place(rng, data, span)
    start = rng.randrange(len(other))
    data[at:] = other[start:]


def _repeat(data: bytearray, rng: random.Random, span: int, seeds: tuple[bytes, ...]) -> None:
    at, size = _place(rng, data, span), rng.choice((4, 8, 16, 64))
    data[at:at] = data[at:at + size] * rng.choice((1, 1, 50))


def _word(data: bytearray, rng: random.Random, span: int, seeds: tuple[bytes, ...]) -> None:
    """A word or number of a text becomes another."""
    found = list(_WORD.finditer(data[:rng.randrange(1, len(data) + 2)]))
    if found:
        place = rng.choice(found[-200:])
        other = rng.choice((b"null", b"true", b"-1", b"1e400", b"NaN", b"[]", b"{}", b"1" * 5000, b'"x"', b"0.5",
                            str(rng.choice(INTERESTING)).encode(), rng.choice(found)[0]))
        data[place.start():place.end()] = other


def _json(data: bytearray, rng: random.Random, span: int, seeds: tuple[bytes, ...]) -> None:
    """A value of the JSON header, of another type or size, with the right length before it; GGUF: as it was."""
    length = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8:8 + length].decode())
        row = header[rng.choice([name for name in header if name != safetensors.METADATA])]
        key = rng.choice(list(row))
        row[key] = rng.choice((row[key], None, -1, 2**64, 1.5, "F64", [], [0], [2**63, 1], [[]], {}, True,
                               [rng.choice(INTERESTING) for _ in range(rng.randrange(4))]))
        text = json.dumps(header).encode()
    except (ValueError, LookupError, TypeError, AttributeError):
        return
    data[:8 + length] = pack("<Q", len(text)) + text


MUTATIONS: tuple[Callable[[bytearray, random.Random, int, tuple[bytes, ...]], None], ...] = (
    _integer, _integer, _integer, _count, _nudge, _nudge, _flip, _cut, _remove, _insert, _splice, _repeat, _json, _word)


def model(data: bytes) -> dict[str, StoredTensor]:
    """A whole model: configuration, tensors by kind, tokenizer, chat format."""
    found = from_gguf(gguf.parse(data, "m"))
    tokens = build(found.vocabulary, found.config) if found.vocabulary else None
    if tokens is not None:
        assert isinstance(tokens.decode(tokens.encode("Hello, w\u00f6rld <|end|>", special=True)), str)
    found.require_room(2**60)
    return {tensor.name: tensor for group in found.tensors.values() for tensor in group}


def folder(data: bytes) -> dict[str, StoredTensor]:
    """A folder of small JSON files, of which the data is one after the other."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as name:
        place = Path(name)
        for file, content in zip((CONFIG, TOKENIZER, TOKENIZER_CONFIG), data.split(SEPARATOR), strict=False):
            (place / file).write_bytes(content)
        vocabulary = read_vocabulary(place, read_config(place))
        if vocabulary is not None:
            with suppress(MissingPackageError):
                build(vocabulary, SMALL).encode("Hello")
            with suppress(ModelError):
                recognise(vocabulary.template)
    return {}


def container(data: bytes) -> dict[str, StoredTensor]:
    """A GGUF file; what is accepted says the same after it was written again."""
    file = gguf.parse(data, "m")
    again = rewritten(file)
    assert again is None or content(gguf.parse(again, "again")) == content(file)
    return dict(file.tensors)


READERS = {
    "gguf": (gguf_seeds, container),
    "safetensors": (safetensors_seeds, lambda data: safetensors.parse(data, "m")),
    "model": (model_seeds, model),
    "folder": (folder_seeds, folder),
}


def judged(form: str, number: int) -> bool:
    """Whether a mutant is accepted, and then read whole.

    Raises:
        AssertionError: its refusal is not what it should be.
    """
    seeds, read = READERS[form]
    try:
        tensors = read(mutant(seeds(), number))
    except (PtoFormatError, ModelError) as err:
        refusal = err.message
    else:
        refusal = ""
    if refusal:
        assert form in ("folder", "model") or refusal.startswith("m: byte "), refusal
        assert refusal.isprintable(), "a message that a terminal may obey"
        return False
    for tensor in tensors.values():
        assert tensor.elements < 2**20
        tensor.read(np.empty(tensor.shape, np.float32))
    return True


def warm(form: str) -> None:
    """Read the seeds, which are sound: what is imported late comes now, so that children run no code that they read."""
    seeds, read = READERS[form]
    for seed in seeds():
        read(seed)


def run(form: str, first: int, count: int) -> tuple[int, list[str]]:
    """How many of some mutants were accepted, and what went wrong."""
    accepted, faults = 0, []
    for start in range(first, first + count, BATCH):
        found, fault = _batch(form, start, min(BATCH, first + count - start))
        accepted += found
        faults += [fault] if fault else []
    return accepted, faults


def _batch(form: str, first: int, count: int) -> tuple[int, str]:
    """How many were accepted, and the fault that ended the batch, if one did."""
    shared = mmap.mmap(-1, _STATE.size)  # where the child is: it may not live to say so
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read_end)
        _in_child(form, first, count, shared, write_end)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    number, accepted = _STATE.unpack_from(shared)
    if os.WIFSIGNALED(status):
        said = signal.Signals(os.WTERMSIG(status)).name
    return accepted, f"{form} mutant {number}: {said}" if status else ""


def _in_child(form: str, first: int, count: int, shared: mmap.mmap, write_end: int) -> None:
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.addaudithook(_no_code)
    try:
        accepted = 0
        for number in range(first, first + count):
            _STATE.pack_into(shared, 0, number, accepted)
            started = time.process_time()
            accepted += judged(form, number)
            assert time.process_time() - started < 1, "takes more than a second"
        _STATE.pack_into(shared, 0, number, accepted)
    except BaseException as err:
        os.write(write_end, f"{type(err).__name__}: {err}"[:500].encode())
        os._exit(1)
    os._exit(0)


def _no_code(event: str, arguments: tuple[object, ...]) -> None:
    if event in FORBIDDEN:
        raise RuntimeError(f"a reader did {event}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    wrong = 0
    for form in READERS:
        warm(form)
        start = time.time()
        accepted, faults = run(form, options.first, options.count)
        wrong += len(faults)
        print(*faults[:20], sep="\n", end="\n" if faults else "")
        print(f"{form}: {options.count} mutants, {accepted} accepted and read, {len(faults)} faults, "
              f"{time.time() - start:.0f} s", flush=True)
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
