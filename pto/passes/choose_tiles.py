"""Extents of tiles for each kind of nest: what the author directs, else what fits the target, from large to small."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from pto.core.target import Target
from pto.core.types import Space
from pto.ir.graph import Graph
from pto.ir.ops import TENSOR_OPS

# Measured on the host: 256 x 256 accumulators with slices of 64 keep the micro-kernel near its peak, and 16 rows
# of 1024 keep a vector instruction's fixed cost under a hundredth while three such tiles fit the host's second cache.
# A streamed product reads its weights once; a token of a Llama with 8-bit weights takes 4 % longer in tiles of 192
# columns than in tiles of 384, and wider ones gain nothing. Tiles come in fours: two and four cores get equal shares.
# Those of a product of matrices come in twos: 576 columns are cut into four of 144, not into 256, 256 and 64. Narrower
# ones, for more cores, cost one core 2 %, and many rows make more tiles.
MATRIX = ((256, 256, 64), (128, 256, 64), (128, 128, 64), (64, 64, 32))
VECTOR = ((16, 1024), (8, 1024), (4, 1024), (8, 512), (4, 256), (1, 256))
REST = 4  # the tiles after the first one of a row are that much narrower, for each stage has its own
SHARES, PAIRS = 4, 2
PIECE = 64  # rows of an accumulator that the vector unit takes at a time
ELEMENT = 4  # bytes of the elements of which tiles of vectors have so many
LINE = (16384, 8192, 4096, 1024, 256)
LANES, NARROWEST = 16, 96  # columns of streamed tiles are a multiple of one, and the other at least
STREAM = ((384, 4096), (64, 4096), (64, 2048), (64, 1024), (64, 512))
ROWS_FULL = 2  # rows that a streamed product may have before its inner extent is cut
SWEPT = 2048  # columns of a matrix that is streamed by rows: long pieces of these, and sums that the first cache holds


@dataclass(frozen=True, slots=True)
class Tiles:
    """Extents of the tiles that whole-tensor expressions are cut into.

    Attributes:
        matrix: rows, columns and inner extent, of nests with a matrix product.
        vector: rows and columns, of nests without; of a row that may be wider than a tile, the first columns.
        rest: how many times as narrow the tiles after the first one of a row are.
        area: elements of a tile that holds whole rows of a constant extent; 0 where the author directs the extents.
        line: columns, of nests of one row.
        stream: columns at most and inner extent, of products of one row with a matrix that is streamed.
        swept: columns at most where it is streamed by rows.
        depth: bytes of the inner extent of products of matrices; 0 where it is so many elements, whatever their size.
        shares, pairs: the number of tiles in a row of a product, of one row and of more, is a multiple of it, so that
            cores get equal shares.
    """

    matrix: tuple[int, int, int]
    vector: tuple[int, int]
    line: int
    stream: tuple[int, int]
    rest: int = 1
    area: int = 0
    shares: int = 1
    pairs: int = 1
    swept: int = SWEPT
    depth: int = 0

    def streamed(self, extent: object, *, by_rows: bool = False) -> int:
        """Columns of the tiles of a streamed product."""
        return dealt(extent, self.swept if by_rows else self.stream[0], self.shares)

    def of_bytes(self, size: int) -> Tiles:
        """As many bytes in a tile, unless the author directs the extents: more elements, where the widest of a nest
        has less than four bytes.
        """
        more = ELEMENT // size if self.area else 1
        tall, wide = self.vector
        return replace(self, vector=(more * tall, wide), line=more * self.line, area=more * self.area)

    def streamed_inner(self, rows: int) -> int:
        """Inner extent of the tiles of a streamed product of so many rows: of several a multiple of a line."""
        most = self.stream[1]
        return min(most, max(ROWS_FULL * most // rows // LANES * LANES, LANES))

    def slice(self, size: int) -> int:
        """Inner extent of the tiles of a product of matrices with elements of so many bytes."""
        return self.depth // size or self.matrix[2]

    def multiplied(self, extent: object, *, computed: bool = False, together: int = 1) -> tuple[int, int]:
        """Rows and columns of the tiles of products of matrices, so many of which are kept at once.

        Where the right one is computed, for each tile of rows anew, rather many rows, unless the author directs them.
        """
        rows, cols, _ = self.matrix
        cols //= together
        if computed and self.area:
            rows, cols = max(rows, cols), min(rows, cols)
        return rows, dealt(extent, cols, self.pairs)


def dealt(extent: object, most: int, shares: int) -> int:
    """Columns of the tiles of a product: few tiles, for each starts anew, but as many for each core."""
    if shares == 1 or not isinstance(extent, int):
        return most
    count = -(-extent // most)
    each = -(-extent // (-(-count // shares) * shares))
    return min(most, max(-(-each // LANES) * LANES, NARROWEST))


def choices(graph: Graph, target: Target, directed: Mapping[str, int]) -> Iterator[Tiles]:
    """Tile extents to try, the best first; extents named `tile_m`, `tile_n`, `tile_k` are the author's."""
    seen: set[Tiles] = set()
    m, n, k = (directed.get(name, 0) for name in ("tile_m", "tile_n", "tile_k"))
    for at in range(max(map(len, (MATRIX, VECTOR, LINE, STREAM)))):
        matrix, vector = MATRIX[min(at, len(MATRIX) - 1)], VECTOR[min(at, len(VECTOR) - 1)]
        line, stream = LINE[min(at, len(LINE) - 1)], STREAM[min(at, len(STREAM) - 1)]
        found = Tiles((m or matrix[0], n or matrix[1], k or matrix[2]), (m or vector[0], n or vector[1]), n or line,
                      (n or stream[0], k or stream[1]), 1 if n else REST, 0 if m or n else vector[0] * vector[1],
                      *((1, 1, n) if n else (SHARES, PAIRS, SWEPT)),
                      0 if k or matrix is MATRIX[-1] else ELEMENT * matrix[2])
        large = found.matrix[0] * found.matrix[1] * 4 > target.bytes_of(Space.L0C)
        if found not in seen and not (large and not directed and has_product(graph)):
            seen.add(found)
            yield found


def has_product(graph: Graph) -> bool:
    """Is there a matrix product of tensors?"""
    return any(node.op is TENSOR_OPS["matmul"] for _, _, node in graph.walk())


def smaller(extents: Sequence[int], fits: Callable[[tuple[int, ...]], bool], count: int = 3,
            tries: int = 60) -> list[tuple[int, ...]]:
    """Extents that fit instead of ones that do not: the largest by halving, and other shapes before smaller ones.

    Args:
        fits: do these extents fit? It is asked for `tries` of them at most.
        count: as many are looked for.
    """
    steps = product(*(range(n.bit_length()) for n in extents))
    found: list[tuple[int, ...]] = []
    within: list[tuple[int, ...]] = []  # another that fits: they are for the case that too few shapes do
    for halved in sorted(steps, key=lambda s: (sum(s), max(s) - min(s))):
        trial = tuple(n >> step for n, step in zip(extents, halved, strict=True))
        if any(all(a <= b for a, b in zip(trial, other, strict=True)) for other in found):
            within.append(trial)
            continue
        tries -= 1
        if fits(trial):
            found.append(trial)
        if len(found) == count or not tries:
            break
    return (found + list(filter(fits, within[:count - len(found)])))[:count]
