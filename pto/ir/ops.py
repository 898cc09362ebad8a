"""What a vertex of a graph can be. Tile and tensor operations are lifted from the rows of the ISA.

Structure (`const`, `dim`, `arg`, `param`, `for`, `get`) and integer operations exist at every level;
`tensor.*`, `tile.*`, and the instructions on tiles (Block) or on buffers (Execution) each at their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import inf, isfinite, nan
from typing import Any

from pto.core.dtypes import DTYPES, F32, S32, DType
from pto.core.errors import DTypeError, ShapeError, TypeMismatch
from pto.core.types import EFFECT, INDEX, TensorType, TileType, Type
from pto.isa.meaning import scalar as scalar_meaning
from pto.isa.spec import Instr, Kind, Role, Trait
from pto.isa.table import TABLE, cube, gather, log, move, vector

Attrs = Mapping[str, Any]
TypeRule = Callable[[tuple[Type, ...], Attrs, Type], Type]
Fold = Callable[..., "int | str | None"]


@dataclass(frozen=True, slots=True)
class Op:
    """A kind of vertex. Builder, verifier, printer, parser and docs read these fields.

    Attributes:
        name: as printed.
        inputs: names of the operands; the last may end in ``*``: any number.
        attrs: names of the attributes.
        rule: (operand types, attributes, declared type) to the result's type; raises where they are wrong.
        instr: the instruction it is, or is lifted from.
        fold: for integer operations: operand constants (or None) to the result, if it is known.
    """

    name: str
    inputs: tuple[str, ...]
    attrs: tuple[str, ...]
    rule: TypeRule
    doc: str
    instr: Instr | None = None
    fold: Fold = lambda *_: None


# rules


def declared(types: tuple[Type, ...], attrs: Attrs, stated: Type) -> Type:
    """The type is written on the node."""
    return stated


def integer(types: tuple[Type, ...], attrs: Attrs, stated: Type) -> Type:
    """Integers give an integer."""
    if any(t != INDEX for t in types):
        raise TypeMismatch("takes integers only")
    return INDEX


def effect(types: tuple[Type, ...], attrs: Attrs, stated: Type) -> Type:
    """No value."""
    return EFFECT


def same_as_first(types: tuple[Type, ...], attrs: Attrs, stated: Type) -> Type:
    """A store gives the next version of its tensor."""
    if not isinstance(types[0], TensorType):
        raise TypeMismatch("stores to a tensor only")
    return types[0]


def assigned(types: tuple[Type, ...], attrs: Attrs, stated: Type) -> Type:
    """Equal types, or an offset and a stride for each axis of the value; gives the next version of the tensor."""
    target, value, *where = types
    if where and (dtype_of(target) != dtype_of(value) or len(where) != 1 + len(extents(value))):
        raise TypeMismatch(f"cannot write a {value} to a part of a {target} given by {len(where)} integers")
    if not where and target != value:
        raise ShapeError(f"cannot write a {value} to a {target}")
    return target


def extents(value: Type) -> tuple[int | str, ...]:
    """The extents of a tensor or the capacity of a tile."""
    if isinstance(value, TensorType):
        return value.dims
    if isinstance(value, TileType):
        return value.rows, value.cols
    raise TypeMismatch(f"takes tensors or tiles, not {value}")


def like(value: Type, dims: tuple[int | str, ...]) -> Type:
    """A type of the same kind and element type with these extents."""
    if isinstance(value, TensorType):
        return TensorType(value.dtype, dims)
    assert isinstance(value, TileType)
    rows, cols = dims
    return replace(value, rows=int(rows), cols=int(cols))


def dtype_of(value: Type) -> Any:
    """Element type of a tensor or tile."""
    if not isinstance(value, TensorType | TileType):
        raise TypeMismatch(f"takes tensors or tiles, not {value}")
    return value.dtype


def elementwise(types: tuple[Type, ...], attrs: Attrs, stated: Type) -> Type:
    """Extents broadcast as in NumPy: equal, or 1 in one operand; missing leading axes are 1."""
    first, *rest = types
    dims = extents(first)
    for other in rest:
        dims = broadcast(dims, extents(other))
    return like(first, dims)


def computed(row: Instr, shaped: TypeRule) -> TypeRule:
    """Extents by one rule, the element type by the row: it must have a form for the operands' types.

    Where forms differ in their result alone, as a conversion's do, the stated one counts.
    """
    forms = [names * len(row.memory) if len(names) == 1 else names for names in row.dtypes]
    results = {names: [form[0] for form in forms if form[1:] == names] for names in {form[1:] for form in forms}}

    def rule(types: tuple[Type, ...], attrs: Attrs, stated: Type) -> Type:
        made, names = shaped(types, attrs, stated), tuple(dtype_of(t).name for t in types)
        found = results.get(names, [])
        if len(found) > 1 and isinstance(stated, TensorType | TileType) and stated.dtype.name in found:
            return of_type(made, stated.dtype)
        if len(found) != 1:
            raise _illegal(row, names, sorted({form[-1] for form in forms}, key=list(DTYPES).index))
        return of_type(made, DTYPES[found[0]])

    return rule


def _illegal(row: Instr, names: tuple[str, ...], legal: list[str]) -> DTypeError:
    if len({*names} - {"pred"}) > 1:
        return DTypeError(f"element types differ: {' and '.join(names)}")
    shown = ", ".join(DTYPES[name].title for name in legal)
    said = _SAID.get(row.tensor_op, row.tensor_op.removeprefix("row").removeprefix("col"))
    return DTypeError(f"{said} is not for {DTYPES[names[-1]].title}, but for {shown}",
                      hint=f"convert the operand first: x.to(pt.{DTYPES[legal[0]].public})")


_SAID = {  # operations that authors write as operators
    **dict.fromkeys(("add", "adds"), "+"), **dict.fromkeys(("sub", "subs", "rsubs", "neg"), "-"),
    **dict.fromkeys(("mul", "muls"), "*"), **dict.fromkeys(("div", "divs", "rdivs"), "/"),
    **dict.fromkeys(("and", "ands"), "&"), **dict.fromkeys(("or", "ors"), "|"), **dict.fromkeys(("xor", "xors"), "^"),
    **dict.fromkeys(("shl", "shls"), "<<"), **dict.fromkeys(("shr", "shrs"), ">>"),
    **dict.fromkeys(("compare", "compares"), "a comparison"), "not": "~", "maxs": "maximum", "mins": "minimum",
    "recip": "reciprocal",
}


def kept(types: tuple[Type, ...], attrs: Attrs, stated: Type) -> Type:
    """Equal types."""
    if types[0] != types[1] or not isinstance(types[0], TileType):
        raise TypeMismatch(f"takes two tiles of one type, not {types[0]} and {types[1]}")
    return types[0]


def of_type(value: Type, dtype: DType) -> Type:
    """The same tensor or tile with other elements."""
    assert isinstance(value, TensorType | TileType)
    return value if value.dtype == dtype else replace(value, dtype=dtype)


def broadcast(a: tuple[int | str, ...], b: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """The common extents of two operands.

    Raises:
        ShapeError: they have none.
    """
    rank = max(len(a), len(b))
    pairs = zip((1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b, strict=True)
    found = []
    for m, n in pairs:
        if m != 1 and n not in (1, m):
            raise ShapeError(f"extents do not broadcast: {_times(a)} and {_times(b)}")
        found.append(n if m == 1 else m)
    return tuple(found)


def reduces_rows(types: tuple[Type, ...], attrs: Attrs, stated: Type) -> Type:
    """One value for each row."""
    return like(types[0], (*extents(types[0])[:-1], 1))


def reduces_columns(types: tuple[Type, ...], attrs: Attrs, stated: Type) -> Type:
    """One value for each column."""
    return like(types[0], (*extents(types[0])[:-2], 1, extents(types[0])[-1]))


@dataclass(frozen=True, slots=True)
class Reduction:
    """How the values of the tiles of a row, or of a column, become one.

    Attributes:
        combine: the operation of two values.
        empty: the value of no elements; an infinity stands for not-a-number and for an integer type's end.
        of: where the values are positions: the reduction that gives the elements there.
        better: where they are positions: how an element compares with an earlier one whose place it takes.
    """

    combine: str
    empty: float
    of: str = ""
    better: str = ""

    def neutral(self, dtype: DType) -> float:
        """The value of no elements of a type: what changes no other value that it is combined with."""
        if isfinite(self.empty):
            return self.empty
        if dtype.kind == "f":
            return nan
        high = 2 ** (dtype.bits - (dtype.kind == "i")) - 1
        return float(high if self.empty > 0 else high + 1 - 2**dtype.bits)


REDUCTIONS = {
    "rowsum": Reduction("add", 0.0),
    "rowprod": Reduction("mul", 1.0),
    "rowmax": Reduction("maximum", -inf),
    "rowmin": Reduction("minimum", inf),
    "rowany": Reduction("or", 0.0),
    "rowall": Reduction("and", 1.0),
    "rowargmax": Reduction("maximum", 0.0, "rowmax", "gt"),
    "rowargmin": Reduction("minimum", 0.0, "rowmin", "lt"),
}
COLUMN_REDUCTIONS = {  # of tiles
    "colsum": "rowsum", "colprod": "rowprod", "colmax": "rowmax", "colmin": "rowmin", "colany": "rowany",
    "colall": "rowall",
}


def _products(rows: tuple[tuple[str, ...], ...]) -> dict[tuple[DType, DType], DType]:
    forms = (names * 3 if len(names) == 1 else names for names in rows)
    return {(DTYPES[a], DTYPES[b]): DTYPES[c] for c, a, b in forms}


# The accumulator's type, by those of the operands: of what the cube unit multiplies, and of what can be streamed too.
PRODUCTS = _products(cube.TMATMUL.dtypes)
STREAMED = _products(cube.STREAMED)


def matmul(types: tuple[Type, ...], attrs: Attrs, stated: Type) -> Type:
    """(m x k) times (k x n) gives (m x n) in the accumulator's type; leading axes of tensors broadcast.

    Tensors may have the types of a streamed product, too. The first `over` axes, which both have, are added up.
    """
    a, b = types
    legal = PRODUCTS | STREAMED if isinstance(a, TensorType) else PRODUCTS
    if (dtype_of(a), dtype_of(b)) not in legal:
        pairs = ", ".join(f"{x.title} x {y.title}" for x, y in legal)
        raise DTypeError(f"there is no matrix product of {dtype_of(a).title} and {dtype_of(b).title}",
                         hint=f"convert one with .to(...): products are {pairs}")
    over = attrs.get("over", 0)
    if over and (len(extents(a)) != len(extents(b)) or extents(a)[:over] != extents(b)[:over]):
        raise ShapeError(f"the products of {a} and {b} cannot be added up over the first {over} axes")
    (*left, m, k), (*right, k2, n) = extents(a)[over:], extents(b)[over:]
    if k != k2:
        raise ShapeError(f"inner extents differ: {m} x {k} times {k2} x {n}")
    return of_type(like(a, (*broadcast(tuple(left), tuple(right)), m, n)), legal[dtype_of(a), dtype_of(b)])


def quantised_product(types: tuple[Type, ...], attrs: Attrs, stated: Type) -> Type:
    """(m x k) in float32 times the transpose of weights in parts gives the stated m x n in float32."""
    if dtype_of(types[0]) != F32 or not isinstance(stated, TensorType) or stated.dtype != F32:
        raise TypeMismatch(f"takes and gives float32, not {types[0]} and {stated}")
    if extents(stated)[:-1] != extents(types[0])[:-1]:
        raise ShapeError(f"{types[0]} has other rows than {stated}")
    return stated


def gathered(types: tuple[Type, ...], attrs: Attrs, stated: Type) -> Type:
    """The rows of a table that integers name: the extents of the integers, then one row's."""
    table, ids = types
    if len(extents(table)) != 2 or dtype_of(ids) != S32:
        raise TypeMismatch(f"takes a table of two axes and integers of 32 bits, not {table} and {ids}")
    return like(table, (*extents(ids), extents(table)[1]))


def taken(types: tuple[Type, ...], attrs: Attrs, stated: Type) -> Type:
    """In each row of a tensor the elements that integers name: the extents of the integers."""
    source, ids = types
    if len(extents(source)) != len(extents(ids)) or dtype_of(ids) != S32 or extents(source)[:-1] != extents(ids)[:-1]:
        raise TypeMismatch(f"takes integers of 32 bits for each row of a tensor, not {ids} of {source}")
    return like(source, extents(ids))


def _times(dims: tuple[int | str, ...]) -> str:
    return " x ".join(map(str, dims))


# structure

CONST = Op("const", (), ("value",), declared, "an integer")
DIM = Op("dim", (), ("name",), declared, "an extent known at launch")
ARG = Op("arg", (), ("name", "slot", "result"), declared, "an argument, or room for a result")
PARAM = Op("param", (), (), declared, "a parameter of a loop's body")
FOR = Op("for", ("low", "high", "step", "values*"), ("grid", "parity", "parallel"), effect,
         "a loop; its body is a graph")
GET = Op("get", ("loop",), ("index",), declared, "a value that a loop carried to its end")
STRUCTURE = (CONST, DIM, ARG, PARAM, FOR, GET)


# integers


def _folding(name: str) -> Fold:
    """Evaluate on constants; see through neutral operands."""
    compute = scalar_meaning.MEANING[name]
    neutral = {"add": 0, "sub": 0, "mul": 1, "div": 1, "xor": 0}

    def fold(*values: int | None) -> int | str | None:
        if None not in values:
            return compute(*values) if name not in ("div", "mod") or values[1] else None
        if name == "madd":
            return "2" if values[0] == 0 or values[1] == 0 else None
        if name in neutral and values[1] == neutral[name]:
            return "0"
        if name in ("add", "xor") and values[0] == 0:
            return "1"
        return "1" if name == "mul" and values[0] == 1 else 0 if name == "mul" and 0 in values else None

    return fold


INDEX_OPS = {
    row.mnemonic: Op(row.mnemonic, tuple(o.name for o in row.operands[1:]), (), integer, row.doc, row,
                     _folding(row.mnemonic))
    for row in TABLE if row.mnemonic in scalar_meaning.MEANING and row.mnemonic != "mov"
}

# operations lifted from rows: tensor.add, tile.add, ...

_RULES = {**dict.fromkeys(REDUCTIONS, reduces_rows), **dict.fromkeys(COLUMN_REDUCTIONS, reduces_columns)}


def choices(row: Instr) -> tuple[str, ...]:
    """Names of an instruction's attributes."""
    return tuple(attr.name for attr in row.attrs)


def _lifted(level: str) -> dict[str, Op]:
    found: dict[str, Op] = {}
    for row in TABLE:
        name = row.tensor_op
        if level == "tensor" and name in COLUMN_REDUCTIONS:
            continue
        if name and name not in ("full", *found) and "expand" not in row.mnemonic:
            sources = tuple(o.name for o in row.operands if o.kind is Kind.TILE and Role.OUT not in o.role)
            scalars = tuple(o.name for o in row.operands if o.kind is Kind.SCALAR) + choices(row)
            rule = computed(row, _RULES.get(name, elementwise))
            found[name] = Op(f"{level}.{name}", sources, scalars, rule, row.doc, row)
    return found


TENSOR_OPS = {
    **_lifted("tensor"),
    "matmul": Op("tensor.matmul", ("a", "b"), ("over",), matmul, "a times b, added up over the first `over` axes"),
    "packed_matmul": Op("tensor.packed_matmul", ("x", "w"), ("packing",), declared,
                        "one row x times the transpose of packed weights w, 16 results a row, see pto.core.packed"),
    "unpack": Op("tensor.unpack", ("w",), ("packing",), declared, "the transpose of packed weights, as numbers"),
    "quantised_matmul": Op("tensor.quantised_matmul", ("x", "parts*"), ("form", "activation"), quantised_product,
                           "x times the transpose of the weights that parts stand for, see pto.quant.forms"),
    "full": Op("tensor.full", (), ("scalar",), declared, "every element is scalar"),
    "view": Op("tensor.view", ("tensor", "offset", "strides*"), (), declared,
               "the elements of a tensor from an offset on, in other extents and strides"),
    "iota": Op("tensor.iota", ("start", "step"), (), declared, "start + j * step at position j of the last axis"),
    "gather": Op("tensor.gather", ("table", "ids"), (), gathered, "the rows of table that ids name"),
    "take": Op("tensor.take", ("tensor", "ids"), (), taken, "in each row of tensor the elements that ids name"),
    "assign": Op("tensor.assign", ("tensor", "value", "view*"), (), assigned,
                 "the next version of tensor: value, or value in the elements from an offset on, at these strides"),
}


def _beside(lifted: dict[str, Op], others: dict[str, Op]) -> dict[str, Op]:
    """Operations of a level, each name once."""
    if twice := lifted.keys() & others:
        raise ValueError(f"two operations are called {', '.join(twice)}")
    return lifted | others


_WINDOW = ("i", "j", "rows", "cols")
# Nothing, or five integers: the tensor as a matrix from element `offset` on, with rows, columns and their strides.
VIEW = "view*"
TILE_OPS = _beside(_lifted("tile"), {
    "matmul": Op("tile.matmul", ("a", "b"), (), matmul, "a times b"),
    "gemv": Op("tile.gemv", ("x", "tensor", "i", "j", "n", "k", VIEW), (), declared, cube.TGEMV_STREAM.doc),
    "gevm": Op("tile.gevm", ("y", "x", "tensor", "i", "j", "k", "n", VIEW), (), declared, cube.TGEVM_STREAM.doc),
    "packed_matmul": Op("tile.packed_matmul", ("x", "tensor", "i", "p", "k", "b", VIEW), ("packing",), declared,
                        "x times the transpose of packed weights, 16 results a row"),
    "unpack": Op("tile.unpack", ("tensor", "i", "j", "k", "b", VIEW), ("packing",), declared,
                 "the transpose of packed weights of 16 rows, as numbers"),
    "iota": Op("tile.iota", ("start", "row_step", "col_step"), (), declared, gather.TCI.doc),
    "topk": Op("tile.topk", ("a", "count"), (), declared, vector.TTOPK.doc),
    "topk_index": Op("tile.topk_index", ("a", "count"), (), declared, vector.TTOPK_INDEX.doc),
    "pick": Op("tile.pick", ("src", "index"), (), declared, gather.TGATHER.doc),
    "gather": Op("tile.gather", ("tensor", "index", "j", "rows", "cols", VIEW), (), declared, gather.MGATHER.doc),
    "take": Op("tile.take", ("tensor", "index", "i", "rows", "cols", "width", VIEW), (), declared,
               gather.MGATHER_ELEM.doc),
    "report": Op("tile.report", ("log", "tile", "site"), (), same_as_first, log.MLOG.doc, log.MLOG),
    "report_unless": Op("tile.report_unless", ("log", "tile", "mask", "site"), (), same_as_first,
                        log.MLOG_UNLESS.doc, log.MLOG_UNLESS),
    "part": Op("tile.part", ("src", "i"), (), declared, move.TEXTRACT_ROWS.doc),
    "over": Op("tile.over", ("old", "new"), (), kept, "new where it is valid, else old"),
    "full": Op("tile.full", (), ("scalar",), declared, "every element is scalar"),
    "load": Op("tile.load", ("tensor", *_WINDOW, VIEW), (), declared, move.TLOAD.doc),
    "store": Op("tile.store", ("tensor", "tile", *_WINDOW, VIEW), (), same_as_first, move.TSTORE.doc),
})


# Block: instructions on tiles; Execution: instructions on buffers


def _placed(row: Instr) -> TypeRule:
    """The declared tile type, where the row has a route for it and the operands' types."""

    def rule(types: tuple[Type, ...], attrs: Attrs, stated: Type) -> Type:
        memory = [t for t in types if t != INDEX]
        out = row.operands[row.memory[0]]
        given = memory if out.role is Role.INOUT or out.kind is Kind.TENSOR else [stated, *memory]
        row.route(tuple(given))  # type: ignore[arg-type]
        return memory[0] if out.kind is Kind.TENSOR else stated

    return rule


def _block(row: Instr) -> Op:
    operands = [o for o in row.operands if o.role is not Role.OUT or o.kind is Kind.TENSOR]
    inputs = tuple(o.name for o in operands if o.kind is not Kind.SCALAR)
    inputs += (VIEW,) * any(o.kind is Kind.TENSOR for o in operands)
    return Op(row.mnemonic, inputs, tuple(o.name for o in operands if o.kind is Kind.SCALAR) + choices(row),
              _placed(row), row.doc, row)


def _execution(row: Instr) -> Op:
    inputs = tuple(o.name for o in row.operands if o.kind in (Kind.TILE, Kind.INDEX))
    attrs = ["tiles"] if any(o.kind is Kind.TILE for o in row.operands) else []
    attrs += [o.name for o in row.operands if o.kind in (Kind.TENSOR, Kind.SCALAR, Kind.PIPE, Kind.SLOT)]
    attrs += choices(row)
    return Op(row.mnemonic, inputs, tuple(attrs), effect, row.doc, row)


BLOCK_OPS = {row.mnemonic: _block(row) for row in TABLE if not row.is_scalar}
ALLOC = Op("alloc", (), (), declared, "room for a tile whose content is not yet written")
EXECUTION_OPS = {
    row.mnemonic: _execution(row) for row in TABLE
    if row.mnemonic not in INDEX_OPS and not row.traits & (Trait.BRANCH | Trait.HALT) and row.mnemonic != "mov"
}
