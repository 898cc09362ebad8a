"""SmolLM2-135M on the machine beside llama.cpp: tokens a second, each in processes of its own, in turns.

`python benchmarks/beside_llama_cpp.py --peer PYTHON [--json]` needs the fetched model, an idle machine, and PYTHON, the
interpreter of an environment with `llama-cpp-python` and `gguf` (`pip install --no-binary llama-cpp-python
llama-cpp-python gguf` builds it for this processor in some twenty minutes). llama.cpp reads the fetched file, and that
written again in two other block types. A figure is the median of the rounds: 64 greedy tokens after a prompt of 128; a
prompt of 512.
"""
# ruff: noqa: PLC0415 (neither interpreter has what the other imports)

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MODEL, CONTEXT, PROMPT, TOKENS, LONG = "smollm2-135m", 1024, 128, 64, 512
OURS = "w4a14", "w8a14", "w8a8", "ternary3", "f32"
AGAIN = "Q8_0", "Q4_0"  # block types in which the file of Q4_1 is written again
Decoder = tuple[Callable[[list[int]], int], Callable[[], None]]  # the next token after some more; begin again


def ids(count: int) -> list[int]:
    """A prompt, the same in both."""
    return [100 + (7919 * n) % 40_000 for n in range(count)]


def ours(precision: str, threads: int) -> Decoder:
    import pto as pt
    from pto.models.catalog import find
    from pto.models.llama.model import Llama
    pt.set_num_threads(threads)
    session = Llama.load(find(MODEL), context=CONTEXT, precision=precision).session()
    return lambda tokens: int(session.best(tokens, 1)[1][0]), lambda: session.rewind(0)


def theirs(path: str, threads: int) -> Decoder:
    import llama_cpp  # type: ignore[import-not-found]
    import numpy as np
    model = llama_cpp.Llama(model_path=path, n_ctx=CONTEXT, n_threads=threads, n_threads_batch=threads, n_batch=LONG,
                            verbose=False)

    def feed(tokens: list[int]) -> int:
        model.eval(tokens)
        logits = llama_cpp.llama_get_logits_ith(model._ctx.ctx, -1)
        return int(np.ctypeslib.as_array(logits, shape=(model.n_vocab(),)).argmax())
    return feed, model.reset


def speeds(decoder: Decoder) -> dict[str, float]:
    """Tokens a second of a decoder."""
    feed, again = decoder

    def decode() -> float:
        again()
        token = feed(ids(PROMPT))
        spent = []
        for _ in range(TOKENS):
            start = time.perf_counter()
            token = feed([token])
            spent.append(time.perf_counter() - start)
        return 1 / statistics.median(spent)

    def prefill() -> float:
        again()
        start = time.perf_counter()
        feed(ids(LONG))
        return LONG / (time.perf_counter() - start)
    decode(), prefill()
    return {"decode": statistics.median(decode() for _ in range(3)),
            "prefill": statistics.median(prefill() for _ in range(3))}


def write(source: str, folder: str) -> None:
    """The model's file in the other block types (runs where `gguf` is)."""
    import gguf  # type: ignore[import-not-found]
    reader = gguf.GGUFReader(source)
    for kind in AGAIN:
        type_ = getattr(gguf.GGMLQuantizationType, kind)
        writer = gguf.GGUFWriter(str(Path(folder) / f"{kind}.gguf"), "llama")
        for name, field in reader.fields.items():
            if not name.startswith("GGUF.") and name not in ("general.architecture", "general.file_type"):
                writer.add_key_value(name, field.contents(), field.types[0],
                                     sub_type=field.types[-1] if len(field.types) > 1 else None)
        for tensor in reader.tensors:
            values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype("float32")
            if values.ndim > 1:
                writer.add_tensor(tensor.name, gguf.quants.quantize(values, type_), raw_dtype=type_)
            else:
                writer.add_tensor(tensor.name, values)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def child(python: str, *words: str) -> dict[str, float]:
    """What this file prints, run by another interpreter."""
    done = subprocess.run([python, __file__, *words], check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout or "{}")
    return found


def compare(peer: str, source: str, rounds: int) -> dict[str, Any]:
    """All medians, by what was run, threads, and kind of speed."""
    figures: dict[str, Any] = {"load": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as folder:
        child(peer, "--write", source, folder)
        runs = [(f"pto {p}", (sys.executable, "--ours", p)) for p in OURS]
        files = {"Q4_1": source} | {kind: str(Path(folder) / f"{kind}.gguf") for kind in AGAIN}
        runs += [(f"llama.cpp {kind}", (peer, "--theirs", file)) for kind, file in files.items()]
        for threads in (1, 2):
            found: dict[str, list[dict[str, float]]] = {name: [] for name, _ in runs}
            for _ in range(rounds):
                for name, command in runs:
                    found[name].append(child(*command, str(threads)))
            for name, values in found.items():
                for kind in values[0]:
                    figures[f"{name}, {threads} threads, {kind}"] = statistics.median(v[kind] for v in values)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", metavar="PYTHON")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    for hidden in ("--ours", "--theirs", "--write"):
        parser.add_argument(hidden, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        return write(*options.write)
    for words, decoder in ((options.ours, ours), (options.theirs, theirs)):
        if words:
            return print(json.dumps(speeds(decoder(words[0], int(words[1])))))
    if not options.peer:
        parser.error("--peer is needed: the Python of an environment with llama-cpp-python and gguf")
    from pto.models.catalog import find
    figures = compare(options.peer, str(find(MODEL)), options.rounds)
    print(f"load {figures.pop('load'):.2f}; tokens a second", file=sys.stderr)
    for name, value in figures.items():
        print(f"{name:36} {value:8.1f}", file=sys.stderr)
    if options.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
