"""Extents of tiles: what the author directs, and otherwise what fits the target, from large to small."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pto.core.target import Target
from pto.core.types import Space
from pto.ir.graph import Graph
from pto.ir.ops import TENSOR_OPS
from pto.passes.expression import Tiles

# Measured on the host: 256 x 256 accumulators with slices of 64 keep the micro-kernel near its peak, and rows
# of 1024 keep a vector instruction's fixed cost under a hundredth.
MATRIX = ((256, 256, 64), (128, 256, 64), (128, 128, 64), (64, 64, 32))
VECTOR = ((8, 1024, 64), (4, 1024, 64), (8, 512, 64), (4, 256, 64), (1, 256, 64))
LINE = ((1, 4096, 64), (1, 1024, 64))


def choices(graph: Graph, target: Target, directed: Mapping[str, int]) -> Iterator[Tiles]:
    """Tile extents to try, the best first; extents named `tile_m`, `tile_n`, `tile_k` are the author's."""
    ops = {node.op for _, node in graph.items()}
    lines = all(len(n.type.dims) == 1 for _, n in graph.items()  # type: ignore[union-attr]
                if n.op.name.startswith("tensor."))
    table = MATRIX if TENSOR_OPS["matmul"] in ops else LINE if lines else VECTOR
    seen: set[Tiles] = set()
    for m, n, k in table:
        found = Tiles(directed.get("tile_m", m), directed.get("tile_n", n), directed.get("tile_k", k))
        large = TENSOR_OPS["matmul"] in ops and found.m * found.n * 4 > target.bytes_of(Space.L0C)
        if found not in seen and not (large and not directed):
            seen.add(found)
            yield found
