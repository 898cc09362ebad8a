"""Instructions of the scalar unit: 64-bit integers, branches, views, the end. Integers wrap; division floors."""

from pto.isa.spec import Instr, Kind, Operand, Trait, index

DEST, TARGET = Operand("dst", Kind.DEST), Operand("target", Kind.LABEL)


def arithmetic(mnemonic: str, opcode: int, doc: str, sources: tuple[str, ...] = ("a", "b")) -> Instr:
    return Instr(mnemonic, opcode, (DEST, *index(*sources)), doc)


MOV = arithmetic("mov", 0x01, "dst = a", ("a",))
ADD = arithmetic("add", 0x02, "dst = a + b")
SUB = arithmetic("sub", 0x03, "dst = a - b")
MUL = arithmetic("mul", 0x04, "dst = a * b")
DIV = arithmetic("div", 0x05, "dst = a / b, rounded down; traps where b is 0")
MOD = arithmetic("mod", 0x06, "dst = a - b * (a / b, rounded down); traps where b is 0")
MIN = arithmetic("min", 0x07, "dst = the smaller of a and b")
MAX = arithmetic("max", 0x08, "dst = the larger of a and b")
LT = arithmetic("lt", 0x09, "dst = 1 where a < b, else 0")
XOR = arithmetic("xor", 0x0A, "dst = a exclusive-or b, bitwise")
MADD = arithmetic("madd", 0x0B, "dst = a * b + c", ("a", "b", "c"))

JMP = Instr("jmp", 0x10, (TARGET,), "continue at target", traits=Trait.BRANCH)
BLT = Instr("blt", 0x11, (*index("a", "b"), TARGET), "continue at target where a < b", traits=Trait.BRANCH)
BGE = Instr("bge", 0x12, (*index("a", "b"), TARGET), "continue at target where a >= b", traits=Trait.BRANCH)

TVIEW = Instr(
    "tview", 0x18,
    (Operand("view", Kind.SLOT), Operand("src", Kind.SLOT),
     *index("offset", "rows", "cols", "row_stride", "col_stride")),
    "from here on, view = the matrix of rows x cols whose element at i, j is the one with number "
    "offset + i * row_stride + j * col_stride of src in row-major order; traps where one is not in src",
)

HALT = Instr("halt", 0x13, (), "end of this core's program", traits=Trait.HALT)
