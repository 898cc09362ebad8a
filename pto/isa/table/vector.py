"""Instructions of the vector unit. Families share one description; a row says what is its own.

f16 and bf16 are computed in f32, and the result is rounded once more, to nearest, ties to even; integers wrap. A
scalar becomes the element type first: rounded to f32 and to the type, or to the nearest integer that the type has
(NaN: 0). In exact mode `texp`, `tlog`, `tsin`, `tcos`, `ttanh`, `tsigmoid` and `terf` are fixed sequences of float64
operations whose result is rounded to f32, see `pto/isa/exact_functions.py` and `pto/isa/exact_math.py`; in fast mode
they are within one ulp of that. `tsilu` and `tgelu` are sequences of other instructions of this table in one pass, in
either mode: every step is rounded to f32.
"""

from collections.abc import Iterable

from pto.core.dtypes import DTYPES
from pto.core.types import Layout, Space
from pto.isa.spec import Attr, Instr, Kind, Operand, Pipe, Role, Route, Trait, index, tile

FLOATING, INTEGER = ("f32", "f16", "bf16"), ("s32", "s16", "s8", "u8")
ARITHMETIC, REDUCED, EVERY = (*FLOATING, *INTEGER), (*FLOATING, "s32"), tuple(DTYPES)
LOGICAL, SHIFTED = (*INTEGER, "pred"), INTEGER
ROW, COL = (Space.UB, Layout.ROW), (Space.UB, Layout.COL)
REGION = index("rows", "cols")
DST, SCALAR = tile("dst", role=Role.OUT), Operand("scalar", Kind.SCALAR)
COMPARISON = Attr("cmp", ("eq", "ne", "lt", "gt", "le", "ge"))
ROUNDING = Attr("round", ("rne", "rtz", "rdn", "rup", "rna", "rto", "rhb"))
SATURATION = Attr("sat", ("off", "on"))
COMMUTATIVE = Trait.COMMUTATIVE

Types = tuple[tuple[str, ...], ...]


def alike(names: Iterable[str]) -> Types:
    """All operands of one type, which is any of these."""
    return tuple((name,) for name in names)


def with_mask(names: Iterable[str], at: int, count: int) -> Types:
    """Operands of one type, which is any of these, but for a predicate at one place."""
    return tuple(tuple("pred" if i == at else name for i in range(count)) for name in names)


def elementwise(mnemonic: str, opcode: int, sources: tuple[Operand, ...], doc: str, op: str, dtypes: Types,
                traits: Trait = Trait.NONE, attrs: tuple[Attr, ...] = (), passes: int = 1) -> Instr:
    """Every operand in one layout, every element alike."""
    count = 1 + sum(o.kind is Kind.TILE for o in sources)
    routes = tuple(Route((place,) * count, Pipe.V, passes=passes) for place in (ROW, COL))
    return Instr(mnemonic, opcode, (DST, *sources, *REGION), doc, dtypes, routes, traits, op, attrs)


def unary(mnemonic: str, opcode: int, doc: str, op: str, names: Iterable[str] = FLOATING, passes: int = 1) -> Instr:
    return elementwise(mnemonic, opcode, (tile("a"),), doc, op, alike(names), passes=passes)


def binary(mnemonic: str, opcode: int, doc: str, op: str, names: Iterable[str] = ARITHMETIC,
           traits: Trait = Trait.NONE) -> Instr:
    return elementwise(mnemonic, opcode, (tile("a"), tile("b")), doc, op, alike(names), traits)


def with_scalar(mnemonic: str, opcode: int, doc: str, op: str, names: Iterable[str] = ARITHMETIC) -> Instr:
    return elementwise(mnemonic, opcode, (tile("a"), SCALAR), doc, op, alike(names))


def row_reduce(mnemonic: str, opcode: int, doc: str, op: str, passes: int = 1,
               names: Iterable[str] = REDUCED, more: Types = ()) -> Instr:
    operands = (tile("dst", "rows", 1, role=Role.OUT), tile("a"), *REGION)
    routes = (Route((COL, ROW), Pipe.V, passes=passes),)
    return Instr(mnemonic, opcode, operands, doc, (*alike(names), *more), routes, Trait.NONE, op)


def row_choose(mnemonic: str, opcode: int, doc: str, op: str) -> Instr:
    operands = (tile("dst", "rows", 1, role=Role.OUT), tile("a"), *REGION)
    return Instr(mnemonic, opcode, operands, f"{doc}, NaN is ignored; 0 where there is nothing else",
                 tuple(("s32", name) for name in REDUCED), (Route((COL, ROW), Pipe.V, passes=8),), Trait.NONE, op)


def col_reduce(mnemonic: str, opcode: int, doc: str, op: str, names: Iterable[str] = REDUCED,
               more: Types = ()) -> Instr:
    operands = (tile("dst", 1, "cols", role=Role.OUT), tile("a"), *REGION)
    routes = (Route((ROW, ROW), Pipe.V),)
    return Instr(mnemonic, opcode, operands, doc, (*alike(names), *more), routes, Trait.NONE, op)


def row_largest(mnemonic: str, opcode: int, doc: str, dtypes: Types, traits: Trait = Trait.NONE) -> Instr:
    operands = (tile("dst", "rows", "count", role=Role.OUT), tile("a"), *index("rows", "cols", "count"))
    order = "in falling order; equal ones by index, NaN last"
    return Instr(mnemonic, opcode, operands, f"{doc} {order}", dtypes, (Route((ROW, ROW), Pipe.V, passes=64),), traits)


def col_expand(mnemonic: str, opcode: int, doc: str, op: str, names: Iterable[str] = ARITHMETIC) -> Instr:
    operands = (DST, tile("a"), tile("b", 1, "cols"), *REGION)
    return Instr(mnemonic, opcode, operands, doc, alike(names), (Route((ROW, ROW, ROW), Pipe.V),), Trait.NONE, op)


def row_expand(mnemonic: str, opcode: int, doc: str, op: str, names: Iterable[str] = ARITHMETIC,
               passes: int = 1) -> Instr:
    operands = (DST, tile("a"), tile("b", "rows", 1), *REGION)
    routes = (Route((ROW, ROW, COL), Pipe.V, passes=passes),)
    return Instr(mnemonic, opcode, operands, doc, alike(names), routes, Trait.NONE, op)


COUNTED = (("s32", "pred"),)  # how many are true
ONE_NAN = "one NaN is ignored, -0 is below +0"
SHIFT = "modulo the bits of an element"

TADD = binary("tadd", 0x50, "dst = a + b", "add", traits=COMMUTATIVE)
TSUB = binary("tsub", 0x51, "dst = a - b", "sub")
TMUL = binary("tmul", 0x52, "dst = a * b", "mul", traits=COMMUTATIVE)
TDIV = binary("tdiv", 0x53, "dst = a / b", "div", FLOATING)
TMAX = binary("tmax", 0x54, f"dst = the larger of a and b; {ONE_NAN}", "maximum", traits=COMMUTATIVE)
TMIN = binary("tmin", 0x55, f"dst = the smaller of a and b; {ONE_NAN}", "minimum", traits=COMMUTATIVE)
TAND = binary("tand", 0x56, "dst = a and b, bit by bit", "and", LOGICAL, COMMUTATIVE)
TOR = binary("tor", 0x57, "dst = a or b, bit by bit", "or", LOGICAL, COMMUTATIVE)
TXOR = binary("txor", 0x58, "dst = a exclusive or b, bit by bit", "xor", LOGICAL, COMMUTATIVE)
TSHL = binary("tshl", 0x59, f"dst = a shifted left by b {SHIFT}", "shl", SHIFTED)
TSHR = binary("tshr", 0x5A, f"dst = a shifted right by b {SHIFT}; signed types keep the sign", "shr", SHIFTED)
TFMA = elementwise("tfma", 0x5B, (tile("a"), tile("b"), tile("c")), "dst = a * b + c, rounded once to f32", "fma",
                   alike(FLOATING))
TDOT4 = elementwise("tdot4", 0x9B, (tile("acc"), tile("a"), tile("b")), "dst = acc + the sum of the products of the "
                    "four signed bytes of a with those of b; it wraps", "dot4", alike(("s32",)))  # ours
TCMP = elementwise("tcmp", 0x5C, (tile("a"), tile("b")), "dst = whether a is equal to b, or as `cmp` says; "
                   "with NaN only ne holds", "compare", with_mask(ARITHMETIC, 0, 3), attrs=(COMPARISON,))
TSEL = elementwise("tsel", 0x5D, (tile("mask"), tile("a"), tile("b")), "dst = a where mask is true, else b", "select",
                   with_mask(EVERY, 1, 4), Trait.BITS)
TCVT = elementwise(
    "tcvt", 0x5E, (tile("a"),),
    "dst = a as another type, rounded as `round` says: to nearest with ties to even, toward zero, down, up, to nearest "
    "with ties away from zero, to odd where inexact, to nearest with ties up. With `sat` on, what is out of range "
    "becomes the nearest finite value that the type has, and NaN as an integer 0. With `sat` off, integers wrap as "
    "integers; NaN and what is out of range as an integer is the lowest signed or the largest unsigned one",
    "cast", tuple((to, name) for to in ARITHMETIC for name in ARITHMETIC if to != name), attrs=(ROUNDING, SATURATION),
    passes=4,
)
TCVT_SR = elementwise(  # ours
    "tcvt_sr", 0x9A, (tile("a"), tile("bits")),
    "dst = a as another type, rounded at random: of the two neighbours of what is inexact the one away from zero where "
    "`bits`, as an unsigned integer over 2**32, is below how far a is on the way to it. Out of range, and with `sat`, "
    "as tcvt", "cast_random",
    tuple((to, name, "s32") for to in ARITHMETIC for name in ARITHMETIC
          if to != name and {to, name} & {*FLOATING}),
    attrs=(SATURATION,),
)
TNOT = unary("tnot", 0x5F, "dst = not a, bit by bit", "not", LOGICAL)

TEXP = unary("texp", 0x60, "dst = e to the power a", "exp", passes=4)
TRELU = unary("trelu", 0x61, "dst = the larger of a and +0; NaN gives +0", "relu", ARITHMETIC)
TSQRT = unary("tsqrt", 0x62, "dst = square root of a", "sqrt")
TLOG = unary("tlog", 0x63, "dst = natural logarithm of a", "log", passes=8)
TRSQRT = unary("trsqrt", 0x64, "dst = 1 / square root of a, the root rounded to f32", "rsqrt")
TRECIP = unary("trecip", 0x65, "dst = 1 / a", "recip")
TTANH = unary("ttanh", 0x66, "dst = hyperbolic tangent of a", "tanh", passes=8)
TSIGMOID = unary("tsigmoid", 0x67, "dst = 1 / (1 + e to the power -a)", "sigmoid", passes=8)
TERF = unary("terf", 0x68, "dst = error function of a", "erf", passes=12)
TSIN = unary("tsin", 0x69, "dst = sine of a", "sin", passes=16)
TCOS = unary("tcos", 0x6A, "dst = cosine of a", "cos", passes=16)
TFLOOR = unary("tfloor", 0x6B, "dst = the largest integer not above a", "floor")
TCEIL = unary("tceil", 0x6C, "dst = the smallest integer not below a", "ceil")
TROUND = unary("tround", 0x6D, "dst = the integer nearest to a, ties to even", "round")
GELU = (-0.07135481627260025, -1.5957691216057308)  # -sqrt(8 / pi) times 0.044715 and 1: tanh(y) = 2 sigmoid(2 y) - 1
TSILU = unary("tsilu", 0x98, "dst = a / (1 + e to the power -a): tmuls by -1, texp, tadds, tdiv", "silu",  # ours
              passes=8)
TGELU = unary("tgelu", 0x99, f"dst = a / (1 + e to the power a (a a {GELU[0]} + {GELU[1]})), the tanh form of the "
              "Gaussian error linear unit: tmul, tmuls, tadds, tmul, texp, tadds, tdiv", "gelu", passes=8)  # ours
TTRUNC = unary("ttrunc", 0x9E, "dst = a without its fraction, with its sign", "trunc")  # ours
TNEG = unary("tneg", 0x6E, "dst = -a", "neg", ARITHMETIC)
TABS = unary("tabs", 0x6F, "dst = the magnitude of a", "abs", ARITHMETIC)

TMULS = with_scalar("tmuls", 0x70, "dst = a * scalar", "muls")
TADDS = with_scalar("tadds", 0x71, "dst = a + scalar", "adds")
TEXPANDS = elementwise("texpands", 0x72, (SCALAR,), "dst = scalar, everywhere", "full", alike(EVERY))
TDIVS = with_scalar("tdivs", 0x73, "dst = a / scalar", "divs", FLOATING)
TRDIVS = with_scalar("trdivs", 0x74, "dst = scalar / a", "rdivs", FLOATING)
TMAXS = with_scalar("tmaxs", 0x75, f"dst = the larger of a and scalar; {ONE_NAN}", "maxs")
TMINS = with_scalar("tmins", 0x76, f"dst = the smaller of a and scalar; {ONE_NAN}", "mins")
TCLAMPS = elementwise(  # ours
    "tclamps", 0x9C, (tile("a"), Operand("low", Kind.SCALAR), Operand("high", Kind.SCALAR)),
    f"dst = the smaller of `high` and the larger of a and `low`: tmaxs, tmins; {ONE_NAN}", "", alike(ARITHMETIC))
TANDS = with_scalar("tands", 0x77, "dst = a and scalar, bit by bit", "ands", INTEGER)
TORS = with_scalar("tors", 0x78, "dst = a or scalar, bit by bit", "ors", INTEGER)
TXORS = with_scalar("txors", 0x79, "dst = a exclusive or scalar, bit by bit", "xors", INTEGER)
TSHLS = with_scalar("tshls", 0x7A, f"dst = a shifted left by scalar {SHIFT}", "shls", SHIFTED)
TSHRS = with_scalar("tshrs", 0x7B, f"dst = a shifted right by scalar {SHIFT}; signed types keep the sign", "shrs",
                    SHIFTED)
TCMPS = elementwise("tcmps", 0x7C, (tile("a"), SCALAR), "dst = whether a is equal to scalar, or as `cmp` says; "
                    "with NaN only ne holds", "compares", with_mask(ARITHMETIC, 0, 2), attrs=(COMPARISON,))
TSELS = elementwise("tsels", 0x7D, (tile("mask"), tile("a"), SCALAR), "dst = a where mask is true, else scalar",
                    "selects", with_mask(EVERY, 1, 3))
TSUBS = with_scalar("tsubs", 0x7E, "dst = a - scalar", "subs")
TRSUBS = with_scalar("trsubs", 0x7F, "dst = scalar - a", "rsubs")

TROWSUM = row_reduce("trowsum", 0x80, "dst[i] = sum over j of a[i, j], from the left; of predicates, how many are true",
                     "rowsum", passes=2, more=COUNTED)
TROWMAX = row_reduce("trowmax", 0x81, "dst[i] = largest a[i, j]; NaN is ignored unless all are", "rowmax",
                     names=ARITHMETIC)
TROWMIN = row_reduce("trowmin", 0x82, "dst[i] = smallest a[i, j]; NaN is ignored unless all are", "rowmin",
                     names=ARITHMETIC)
TROWPROD = row_reduce("trowprod", 0x83, "dst[i] = product over j of a[i, j], from the left", "rowprod")
TROWANY = row_reduce("trowany", 0x8C, "dst[i] = whether an a[i, j] is true", "rowany", names=("pred",))  # ours
TROWALL = row_reduce("trowall", 0x8E, "dst[i] = whether every a[i, j] is true", "rowall", names=("pred",))  # ours
TROWARGMAX = row_choose("trowargmax", 0x84, "dst[i] = the first j of which no a[i, j] is larger", "rowargmax")
TROWARGMIN = row_choose("trowargmin", 0x85, "dst[i] = the first j of which no a[i, j] is smaller", "rowargmin")
TTOPK = row_largest("ttopk", 0x86, "dst[i] = the largest a[i, j], and the lowest value where there are no more,",
                    alike(REDUCED))
TTOPK_INDEX = row_largest("ttopk_index", 0x87, "dst[i] = the j of the largest a[i, j], and -1 where there are no more,",
                          tuple(("s32", name) for name in REDUCED))
TROWDOT = Instr(  # ours: a sum of squares, or of products, without a tile of the products
    "trowdot", 0x8D, (tile("dst", "rows", 1, role=Role.OUT), tile("a"), tile("b"), *REGION),
    "dst[i] = sum over j of a[i, j] * b[i, j] from 0 on, from the left, each term with one rounding; integers wrap",
    alike(REDUCED), (Route((COL, ROW, ROW), Pipe.V),),
)
TCOLSUM = col_reduce("tcolsum", 0x88, "dst[j] = sum over i of a[i, j], from the top; of predicates, how many are true",
                     "colsum", more=COUNTED)
TCOLMAX = col_reduce("tcolmax", 0x89, "dst[j] = largest a[i, j]; NaN is ignored unless all are", "colmax", ARITHMETIC)
TCOLMIN = col_reduce("tcolmin", 0x8A, "dst[j] = smallest a[i, j]; NaN is ignored unless all are", "colmin", ARITHMETIC)
TCOLPROD = col_reduce("tcolprod", 0x8B, "dst[j] = product over i of a[i, j], from the top", "colprod")
TCOLANY = col_reduce("tcolany", 0x8F, "dst[j] = whether an a[i, j] is true", "colany", ("pred",))  # ours
TCOLALL = col_reduce("tcolall", 0x9D, "dst[j] = whether every a[i, j] is true", "colall", ("pred",))  # ours

TROWEXPANDADD = row_expand("trowexpandadd", 0x90, "dst[i, j] = a[i, j] + b[i]", "add")
TROWEXPANDSUB = row_expand("trowexpandsub", 0x91, "dst[i, j] = a[i, j] - b[i]", "sub")
TROWEXPANDMUL = row_expand("trowexpandmul", 0x92, "dst[i, j] = a[i, j] * b[i]", "mul")
TROWEXPANDDIV = row_expand("trowexpanddiv", 0x93, "dst[i, j] = a[i, j] / b[i]", "div", FLOATING)
TROWEXPAND = Instr("trowexpand", 0x94, (DST, tile("a", "rows", 1), *REGION), "dst[i, j] = a[i]", alike(EVERY),
                   (Route((ROW, COL), Pipe.V),), Trait.BITS)
TROWEXPANDEXPDIF = row_expand("trowexpandexpdif", 0x95, "dst[i, j] = e to the power a[i, j] - b[i], the difference "
                              "rounded to f32", "", FLOATING, passes=4)
TROWEXPANDMAX = row_expand("trowexpandmax", 0x96, f"dst[i, j] = the larger of a[i, j] and b[i]; {ONE_NAN}", "maximum")
TROWEXPANDMIN = row_expand("trowexpandmin", 0x97, f"dst[i, j] = the smaller of a[i, j] and b[i]; {ONE_NAN}", "minimum")

TCOLEXPANDADD = col_expand("tcolexpandadd", 0xA0, "dst[i, j] = a[i, j] + b[j]", "add")
TCOLEXPANDSUB = col_expand("tcolexpandsub", 0xA1, "dst[i, j] = a[i, j] - b[j]", "sub")
TCOLEXPANDMUL = col_expand("tcolexpandmul", 0xA2, "dst[i, j] = a[i, j] * b[j]", "mul")
TCOLEXPANDDIV = col_expand("tcolexpanddiv", 0xA3, "dst[i, j] = a[i, j] / b[j]", "div", FLOATING)
TCOLEXPAND = Instr("tcolexpand", 0xA4, (DST, tile("a", 1, "cols"), *REGION), "dst[i, j] = a[j]", alike(EVERY),
                   (Route((ROW, ROW), Pipe.V), Route((COL, COL), Pipe.V)), Trait.BITS)
TCOLEXPANDMAX = col_expand("tcolexpandmax", 0xA5, f"dst[i, j] = the larger of a[i, j] and b[j]; {ONE_NAN}", "maximum")
TCOLEXPANDMIN = col_expand("tcolexpandmin", 0xA6, f"dst[i, j] = the smaller of a[i, j] and b[j]; {ONE_NAN}", "minimum")
