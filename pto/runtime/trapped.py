"""What a trap of the machine means to the author of the kernel, who thinks of tensors and windows."""

from __future__ import annotations

from collections.abc import Sequence

from pto.isa.program import Program
from pto.isa.spec import Kind
from pto.isa.table import gather, scalar
from pto.sim.traps import MachineTrap, TrapKind

OUTSIDE = (TrapKind.OUT_OF_BOUNDS, TrapKind.BAD_REGION)


def explain(err: MachineTrap, program: Program, shapes: Sequence[tuple[int, ...]]) -> None:
    """Say what an access out of bounds is in terms of the tensor: its name, its extents, and what to do.

    Args:
        shapes: the extents of each tensor of the program in this launch.
    """
    if err.kind not in OUTSIDE or not 0 <= err.pc < len(program.code):
        return
    inst = program.code[err.pc]
    slots = [arg for operand, arg in zip(inst.spec.operands, inst.args, strict=True)
             if operand.kind is Kind.TENSOR or (operand.name == "src" and inst.spec is scalar.TVIEW)]
    if len(slots) != 1 or not isinstance(slots[0], int):
        return
    slot = program.slot(slots[0])
    name, shape = program.tensors[slot].name, shapes[slot]
    said = " x ".join(map(str, shape))
    picks = 0 <= err.operand < len(inst.args) and inst.spec.operands[err.operand].picks
    if inst.spec is scalar.TVIEW:
        err.message = f"a part of {name} is not inside it, which is {said}\n      {err.message}"
        err.hint = "check the integers before the call: subscripts are 0 or more, and below the extent"
    elif picks and inst.spec is gather.MGATHER:
        rows = shape[-2] if len(shape) > 1 else len(shape)
        err.message = f"row {err.value} of {name} is asked for, which has rows 0 to {rows - 1}\n      {err.message}"
        err.hint = "check the indices before the call: they are 0 or more, and below the number of rows"
    else:
        err.message = f"a window is not inside {name}, which is {said}\n      {err.message}"
        err.hint = (f"begin windows inside of {name}: `for i in pt.range(0, {name}.shape[0], n)`, or a grid of "
                    "pt.cdiv(extent, n) programs; the last window of an axis may end after it")
