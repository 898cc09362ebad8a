"""SmolLM2-135M decoded on the machine, against the bare matrix-vector products of a token in NumPy.

`python benchmarks/llama.py --json` needs the fetched model and an idle machine; it says how idle it was. Decoding is
timed at contexts 128 to 192, in turns with NumPy and with what memory gives, and ratios are of medians of the wall
clock. A token of plain weights is bound by memory, and hosts give two cores now twice what they give one, now no more.
Quantised weights are timed in turns with float32 ones, on one thread; these ratios are of thread time, of best rounds.

Last come tokens on two threads and on one, in turns with memory, round by round: rounds in which memory gives two
cores at least `ENOUGH` times what it gives one show what the program makes of two threads. `--two-threads` times
nothing else.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, partialmethod
from pathlib import Path
from typing import Any

import baselines
import numpy as np
from racing import race
from threadpoolctl import threadpool_limits

import pto as pt
from pto.core.cache import default_directory
from pto.models.catalog import find
from pto.models.llama.generate import stream
from pto.models.llama.model import Batch, Llama, Session
from pto.models.sampling import Sampling
from pto.sim.machine import Machine

MODEL = "smollm2-135m"
PRECISIONS = "f32", "f16", "bf16"
PACKED = "w8a14", "w4a14", "ternary3"  # precisions whose weights are kept on disk as they lie in memory
QUANTISED = "w8a14", "w8a8", "w4a14", "ternary3"
STREAMED, WIDTH = 2**28, 1024  # bytes of a matrix, and its columns, which show what memory gives to one core and to two
FIRST, LAST = 128, 192  # contexts between which tokens are timed
TURN = 8  # tokens between two rounds of NumPy
PROMPTS = (128, 512)
ENOUGH, GOOD_ROUNDS, MOST_ROUNDS = 1.45, 5, 80
MEBI = 2**20
Note = Callable[[str, float], None]
MEMORY = ("import json, sys; sys.path.insert(0, {folder!r}); import llama; "
          "print(json.dumps(llama.footprint({precision!r})))")


def idle(seconds: float = 1.0) -> float:
    """The part of the processors' time that nobody used, just now; nan where the system does not tell."""
    def read() -> list[int]:
        return [int(n) for n in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    try:
        before = read()
        time.sleep(seconds)
        spent = [b - a for a, b in zip(before, read(), strict=True)]
    except OSError:
        return float("nan")
    return (spent[3] + spent[4]) / max(sum(spent), 1)


def timed(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


@contextmanager
def inside() -> Iterator[list[float]]:
    """Processor seconds of each launch while the block runs."""
    found: list[float] = []
    ways = {name: getattr(Machine, name) for name in ("run", "again")}

    def measured(run: Callable[..., Any], *values: Any, **named: Any) -> Any:
        start = time.thread_time()
        result = run(*values, **named)
        found.append(time.thread_time() - start)
        return result
    for name, way in ways.items():
        setattr(Machine, name, partialmethod(partial(measured, way)))
    try:
        yield found
    finally:
        for name, way in ways.items():
            setattr(Machine, name, way)


def ids(count: int) -> list[int]:
    return np.random.default_rng(count).integers(100, 49_000, count).tolist()


def decode(session: Session, gemvs: Callable[[], Any]) -> tuple[float, float, float]:
    """Median seconds of a token and of NumPy's products, in turns, and bytes a second that memory gave meanwhile."""
    tokens, numpy, rates = [], [], []
    session.rewind(0)
    session.feed(ids(FIRST))
    gemvs()
    memory = streaming()
    for at in range(FIRST, LAST, TURN):
        session.feed([at])  # what NumPy drove out of the caches is not the token's
        tokens += [timed(lambda t=t: session.feed([t])) for t in range(at + 1, at + TURN)]
        rates.append(STREAMED / min(timed(memory) for _ in range(3)))
        numpy += [timed(gemvs) for _ in range(3)][1:]
    return statistics.median(tokens), statistics.median(numpy), statistics.median(rates)


def prefill(session: Session, count: int) -> tuple[float, float]:
    """Median seconds of a prompt, and of NumPy's product of 1024 x 1024 matrices, in turns."""
    def once() -> None:
        session.rewind(0)
        session.feed(ids(count))
    _, gemm = baselines.gemm(1024, 1024, 1024)
    once(), gemm()
    prompts, gemms = [], []
    for _ in range(5):
        prompts.append(timed(once))
        gemm()  # what the prompt drove out of the caches is not NumPy's
        gemms += [timed(gemm) for _ in range(3)]
    return statistics.median(prompts), statistics.median(gemms)


def multiplications(model: Llama, count: int) -> int:
    """Of a prompt's layers; its head is that of one position. Attention takes the positions before."""
    c = model.config
    layers = sum(a[0].size * c.layers for n, a in model.weights.items() if a.ndim == 3)
    attention = c.layers * c.heads * c.head_dim * (count + 1)
    return count * (layers + attention) + c.vocab * c.embed


def overhead(model: Llama, sampling: Sampling) -> float:
    """Processor seconds of a token outside the machine, in the loop of `stream`: the median."""
    found = []
    with inside() as launches:
        pieces = stream(model.session(), ids(4), limit=66, sampling=sampling, stop=())
        next(pieces)
        for _ in range(64):
            launches.clear()
            start = time.thread_time()
            next(pieces)
            found.append(time.thread_time() - start - sum(launches))
    return statistics.median(found)


def footprint(precision: str) -> dict[str, float]:
    """Seconds to load, of the processors too, and memory after a prompt and a token; for a process of its own."""
    start, busy = time.perf_counter(), time.process_time()
    model = Llama.load(find(MODEL), precision=precision)
    loaded, busy = time.perf_counter() - start, time.process_time() - busy
    session = model.session()
    session.feed(ids(512))
    session.feed([1])
    own = {id(a): a.nbytes for a in model.weights.values()}
    packed = sum(own.values()) + sum(array.nbytes for array in session.cache)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"load_s": loaded, "load_cpu_s": busy, "peak_mb": peak * 1024 / MEBI,
            "anonymous_mb": int(status["RssAnon"].split()[0]) * 1024 / MEBI, "packed_mb": packed / MEBI,
            "allowed_mb": 1.15 * packed / MEBI + 250}


def loads(note: Note) -> None:
    """What loading costs, the first time and with packed weights on the disk."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "pto").mkdir()
        for kind in ("models", "objects", "programs"):  # all but the weights is that of the user
            (Path(folder) / "pto" / kind).symlink_to(default_directory(kind))
        environ = {**os.environ, "PTO_CACHE_DIR": folder}
        for precision in (*PRECISIONS, *PACKED):
            for name in ("cold", "warm") if precision in PACKED else ("",):
                command = [sys.executable, "-c", MEMORY.format(folder=str(Path(__file__).parent), precision=precision)]
                done = subprocess.run(command, check=True, capture_output=True, text=True, env=environ)
                for key, value in json.loads(done.stdout).items():
                    note("_".join(filter(None, (key, precision, name))), value)


@pt.tile_kernel
def product(x: pt.f32[1, WIDTH], w):
    return pt.matmul(x, w.T)


def streaming() -> Callable[[], Any]:
    """A row times one large matrix, nothing else: what the machine streams at best."""
    x, w = np.ones((1, WIDTH), np.float32), np.ones((STREAMED // 4 // WIDTH, WIDTH), np.float32)
    product(x, w)
    return lambda: product(x, w)


def read_by_token(model: Llama) -> int:
    """Bytes of the weights that a token reads: all, but one row of the embedding for all of them."""
    arrays = {id(a): a.nbytes for name, a in model.weights.items() if name != "embed"}
    return sum(arrays.values())


def measure(model: Llama, precision: str, threads: int, gemvs: Callable[[], Any], note: Note) -> None:
    """The speeds of one precision on so many threads."""
    session, of = model.session(), f"{precision}_{threads}t"
    token, numpy, rate = decode(session, gemvs)
    note(f"decode_tps_{of}", 1 / token)
    note(f"decode_ms_{of}", token * 1e3)
    note(f"memory_gb_s_{of}", rate / 1e9)
    note(f"decode_of_memory_{of}", read_by_token(model) / token / rate)
    if precision == "f32":
        note(f"numpy_gemv_ms_{threads}t", numpy * 1e3)
        note(f"decode_over_gemv_{threads}t", token / numpy)
    for count in PROMPTS:
        seconds, gemm = prefill(session, count)
        note(f"prefill{count}_tps_{of}", count / seconds)
        note(f"prefill{count}_of_gemm_{of}", multiplications(model, count) / seconds / (1024**3 / gemm))


def beside_float(note: Note) -> None:
    """How many times as many tokens a second as in float32, with quantised weights; a token, and a prompt."""
    def session(precision: str) -> Session:
        found = Llama.load(find(MODEL), context=1024, precision=precision).session()
        found.feed(ids(FIRST))
        return found

    def after(session: Session, known: int, tokens: list[int]) -> None:
        session.rewind(known)
        session.feed(tokens)
    exact = session("f32")
    for precision in QUANTISED:
        both = {"f32": exact, precision: session(precision)}
        for name, known, tokens, rounds in (("decode", FIRST, [1], 25), ("prefill512", 0, ids(512), 3)):
            found = race({of: partial(after, s, known, tokens) for of, s in both.items()}, rounds=rounds, least=0.1)
            note(f"{name}_over_f32_{precision}_1t", found["f32"].best / found[precision].best)


def together(model: Llama, texts: int, count: int = 24) -> float:
    """Tokens a second of so many texts that go on together: the median of some steps."""
    batch, found = Batch.of(model, [ids(FIRST)] * texts, 2)
    def step() -> None:
        nonlocal found
        found = batch.best([int(tokens[0]) for _, tokens in found], 2)
    step()
    return texts / statistics.median(timed(step) for _ in range(count))


def two_threads(session: Session) -> list[tuple[float, float]]:
    """How many times as fast as on one thread, round by round: memory at least, before and after, and tokens."""
    memory, found = streaming(), list[tuple[float, float]]()
    session.rewind(0)
    session.feed(ids(FIRST))

    def streamed(threads: int) -> float:
        pt.set_num_threads(threads)
        return min(timed(memory) for _ in range(2))

    def tokens(threads: int) -> float:
        pt.set_num_threads(threads)
        session.rewind(FIRST)
        session.feed([0])
        return statistics.median(timed(lambda t=t: session.feed([t])) for t in range(1, TURN))

    before = streamed(1) / streamed(2)
    while len(found) < MOST_ROUNDS and sum(most >= ENOUGH for most, _ in found) < GOOD_ROUNDS:
        ratio = tokens(1) / tokens(2)
        after = streamed(1) / streamed(2)
        found.append((min(before, after), ratio))
        before = after
    return found


def prompts(session: Session, count: int) -> float:
    """How many times as fast a prompt is on two threads as on one, in turns: the median."""
    def once(threads: int) -> float:
        pt.set_num_threads(threads)
        session.rewind(0)
        return timed(lambda: session.feed(ids(count)))
    once(2)
    return statistics.median(once(1) / once(2) for _ in range(3))


def scaling(note: Note) -> None:
    """Tokens on two threads, of rounds in which memory has enough for them, and of the others, and prompts: medians."""
    for precision in (*PRECISIONS, *QUANTISED):
        session = Llama.load(find(MODEL), context=1024, precision=precision).session()
        for count in PROMPTS:
            note(f"two_threads_prefill{count}_{precision}", prompts(session, count))
        rounds = two_threads(session)
        for name, chosen in (("", [r for r in rounds if r[0] >= ENOUGH]),
                             ("_else", [r for r in rounds if r[0] < ENOUGH])):
            note(f"two_threads_{precision}{name}_rounds", len(chosen))
            if chosen:
                most, ratio = map(statistics.median, zip(*chosen, strict=True))
                note(f"two_threads_{precision}{name}_memory", most)
                note(f"two_threads_{precision}{name}", ratio)


def main() -> None:
    figures: dict[str, float] = {"idle": idle()}
    print(f"{figures['idle']:.0%} of the processors' time was idle"
          f"{'' if figures['idle'] > 0.9 else ': the figures are those of a busy machine'}", file=sys.stderr)

    def note(name: str, value: float) -> None:
        figures[name] = round(value, 4)
        print(f"{name:28} {value:10.3f}", file=sys.stderr)
    if "--two-threads" in sys.argv:
        scaling(note)
    else:
        everything(note)
        scaling(note)
    if "--json" in sys.argv:
        print(json.dumps(figures))


def everything(note: Note) -> None:
    """All figures but those of two threads in turns."""
    loads(note)
    _, gemvs = baselines.llama_token_gemvs()
    counts = range(1, min(2, os.cpu_count() or 1) + 1)
    for precision in PRECISIONS:
        model = Llama.load(find(MODEL), context=1024, precision=precision)
        for threads in counts:
            pt.set_num_threads(threads)
            with threadpool_limits(threads):
                measure(model, precision, threads, gemvs, note)
    model = Llama.load(find(MODEL), context=1024, precision="f32")
    pt.set_num_threads(1)
    note("loop_overhead_ms", overhead(model, Sampling()) * 1e3)
    for texts in (1, 4, 8):
        note(f"together{texts}_tps_f32_1t", together(model, texts))
    note("sampling_overhead_ms", overhead(model, Sampling(temperature=0.8, top_p=0.95)) * 1e3)
    beside_float(note)


if __name__ == "__main__":
    main()
