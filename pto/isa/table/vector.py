"""Instructions of the vector unit. Families share one description; a row says what is its own."""

from pto.core.types import Layout, Space
from pto.isa.spec import Instr, Kind, Operand, Pipe, Role, Route, Trait, index, tile

F = (("f32",),)
ROW, COL = (Space.UB, Layout.ROW), (Space.UB, Layout.COL)
REGION = index("rows", "cols")
DST = tile("dst", role=Role.OUT)


def elementwise(mnemonic: str, opcode: int, sources: tuple[Operand, ...], doc: str, op: str,
                traits: Trait = Trait.NONE) -> Instr:
    """Every operand in one layout, every element alike."""
    count = 1 + sum(o.kind is Kind.TILE for o in sources)
    routes = tuple(Route((place,) * count, Pipe.V) for place in (ROW, COL))
    return Instr(mnemonic, opcode, (DST, *sources, *REGION), doc, F, routes, traits, op)


def unary(mnemonic: str, opcode: int, doc: str, op: str) -> Instr:
    return elementwise(mnemonic, opcode, (tile("a"),), doc, op)


def binary(mnemonic: str, opcode: int, doc: str, op: str, traits: Trait = Trait.NONE) -> Instr:
    return elementwise(mnemonic, opcode, (tile("a"), tile("b")), doc, op, traits)


def with_scalar(mnemonic: str, opcode: int, doc: str, op: str) -> Instr:
    return elementwise(mnemonic, opcode, (tile("a"), Operand("scalar", Kind.SCALAR)), doc, op)


def row_reduce(mnemonic: str, opcode: int, doc: str, op: str) -> Instr:
    operands = (tile("dst", "rows", 1, role=Role.OUT), tile("a"), *REGION)
    return Instr(mnemonic, opcode, operands, doc, F, (Route((COL, ROW), Pipe.V),), Trait.NONE, op)


def col_expand(mnemonic: str, opcode: int, doc: str, op: str) -> Instr:
    operands = (DST, tile("a"), tile("b", 1, "cols"), *REGION)
    return Instr(mnemonic, opcode, operands, doc, F, (Route((ROW, ROW, ROW), Pipe.V),), Trait.NONE, op)


def row_expand(mnemonic: str, opcode: int, doc: str, op: str) -> Instr:
    operands = (DST, tile("a"), tile("b", "rows", 1), *REGION)
    return Instr(mnemonic, opcode, operands, doc, F, (Route((ROW, ROW, COL), Pipe.V),), Trait.NONE, op)


TADD = binary("tadd", 0x50, "dst = a + b", "add", Trait.COMMUTATIVE)
TSUB = binary("tsub", 0x51, "dst = a - b", "sub")
TMUL = binary("tmul", 0x52, "dst = a * b", "mul", Trait.COMMUTATIVE)
TDIV = binary("tdiv", 0x53, "dst = a / b", "div")
TMAX = binary("tmax", 0x54, "dst = the larger of a and b; one NaN is ignored, -0 is below +0", "maximum",
              Trait.COMMUTATIVE)

TMIN = binary("tmin", 0x55, "dst = the smaller of a and b; one NaN is ignored, -0 is below +0", "minimum",
              Trait.COMMUTATIVE)

TEXP = unary("texp", 0x60, "dst = e to the power a", "exp")
TRELU = unary("trelu", 0x61, "dst = the larger of a and +0; NaN gives +0", "relu")

TSQRT = unary("tsqrt", 0x62, "dst = square root of a", "sqrt")

TMULS = with_scalar("tmuls", 0x70, "dst = a * scalar", "muls")
TADDS = with_scalar("tadds", 0x71, "dst = a + scalar", "adds")
TEXPANDS = elementwise("texpands", 0x72, (Operand("scalar", Kind.SCALAR),), "dst = scalar, everywhere", "full")

TDIVS = with_scalar("tdivs", 0x73, "dst = a / scalar", "divs")
TRDIVS = with_scalar("trdivs", 0x74, "dst = scalar / a", "rdivs")

TROWSUM = row_reduce("trowsum", 0x80, "dst[i] = sum over j of a[i, j], from the left", "rowsum")
TROWMAX = row_reduce("trowmax", 0x81, "dst[i] = largest a[i, j]; NaN is ignored unless all are", "rowmax")

TROWEXPANDADD = row_expand("trowexpandadd", 0x90, "dst[i, j] = a[i, j] + b[i]", "add")
TROWEXPANDSUB = row_expand("trowexpandsub", 0x91, "dst[i, j] = a[i, j] - b[i]", "sub")
TROWEXPANDMUL = row_expand("trowexpandmul", 0x92, "dst[i, j] = a[i, j] * b[i]", "mul")
TROWEXPANDDIV = row_expand("trowexpanddiv", 0x93, "dst[i, j] = a[i, j] / b[i]", "div")
TROWEXPAND = Instr("trowexpand", 0x94, (DST, tile("a", "rows", 1), *REGION), "dst[i, j] = a[i]", F,
                   (Route((ROW, COL), Pipe.V),))
TROWEXPANDEXPDIF = row_expand("trowexpandexpdif", 0x95, "dst[i, j] = e to the power a[i, j] - b[i]", "")

TCOLEXPANDADD = col_expand("tcolexpandadd", 0xA0, "dst[i, j] = a[i, j] + b[j]", "add")
TCOLEXPANDSUB = col_expand("tcolexpandsub", 0xA1, "dst[i, j] = a[i, j] - b[j]", "sub")
TCOLEXPANDMUL = col_expand("tcolexpandmul", 0xA2, "dst[i, j] = a[i, j] * b[j]", "mul")
TCOLEXPANDDIV = col_expand("tcolexpanddiv", 0xA3, "dst[i, j] = a[i, j] / b[j]", "div")
TCOLEXPAND = Instr("tcolexpand", 0xA4, (DST, tile("a", 1, "cols"), *REGION), "dst[i, j] = a[j]", F,
                   (Route((ROW, ROW), Pipe.V), Route((COL, COL), Pipe.V)))
