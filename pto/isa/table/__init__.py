"""The rows of the instruction set, collected."""

from pto.isa.spec import Instr
from pto.isa.table import cube, gather, log, move, packed, scalar, sync, vector

GROUPS = {
    "Scalar unit": scalar, "Order": sync, "Moves": move, "Gathers": gather, "Cube unit": cube,
    "Packed weights": packed, "Vector unit": vector, "Reports": log,
}
TABLE = tuple(
    row for group in GROUPS.values() for row in vars(group).values() if isinstance(row, Instr)
)
BY_MNEMONIC = {row.mnemonic: row for row in TABLE}
BY_OPCODE = {row.opcode: row for row in TABLE}
