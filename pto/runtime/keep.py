"""Compiled programs on disk: a second process traces a kernel, and finds its program.

The key is what lowering depends on and nothing else: the text of the traced Tensor graph (with its spans, which the
program carries), the directed tile extents, the target, and the sources of the compiler itself.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache

from pto.core.cache import FileCache, sources_digest
from pto.core.errors import PtoFormatError
from pto.ir.graph import Graph
from pto.ir.text import text
from pto.isa.file import dumps, loads
from pto.isa.program import Program
from pto.passes.pipeline import Options

SOURCES = ("core/*.py", "isa/*.py", "isa/table/*.py", "isa/meaning/*.py", "quant/*.py", "ir/*.py", "passes/*.py")
LENGTH = 4  # bytes that say how long the list of output slots is


@cache
def store() -> FileCache:
    """The programs of this version of the compiler."""
    return FileCache(sources_digest(SOURCES), kind="programs")


def key(graph: Graph, options: Options) -> str:
    """The name under which a graph's program is kept."""
    spans = "\n".join(f"{loc.file}\0{loc.source()}" for _, _, node in graph.walk() for loc in node.locs)
    parts = (text(graph), spans, repr(options.target), json.dumps(options.tiles, sort_keys=True))
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def fetch(name: str) -> tuple[Program, tuple[int, ...]] | None:
    """A kept program and the slots of its outputs; anything amiss is a miss."""
    body = store().get(name)
    if body is None or len(body) < LENGTH:
        return None
    end = LENGTH + int.from_bytes(body[:LENGTH], "little")
    try:
        slots = json.loads(body[LENGTH:end])
        return loads(body[end:], "<cache>"), tuple(int(s) for s in slots)
    except (PtoFormatError, ValueError, TypeError):
        return None


def put(name: str, program: Program, outputs: tuple[int, ...]) -> None:
    """Keep a program."""
    slots = json.dumps(outputs).encode()
    store().put(name, len(slots).to_bytes(LENGTH, "little") + slots + dumps(program))
