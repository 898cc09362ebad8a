"""Static rules of a program as a whole: where it may go on, and which flags meet."""

from __future__ import annotations

from collections.abc import Iterator

from pto.isa.program import Inst, Program
from pto.isa.spec import Kind, Pipe, Trait
from pto.isa.table import sync


def successors(program: Program, pc: int) -> list[int]:
    """Instructions that may follow one; `len(program.code)` stands for running off the end."""
    inst = program.code[pc]
    if Trait.HALT in inst.spec.traits:
        return []
    targets = [
        arg for operand, arg in zip(inst.spec.operands, inst.args, strict=True)
        if operand.kind is Kind.LABEL and isinstance(arg, int)
    ]
    return targets if _always_jumps(inst) else [pc + 1, *targets]


def flow_faults(program: Program) -> Iterator[tuple[str, int | None]]:
    """Faults of the program as a whole, each with the instruction that shows it."""
    if not program.code:
        yield "a program has at least one instruction", None
        return
    yield from _paths(program)
    yield from _flags(program)
    yield from _events(program)


def _always_jumps(inst: Inst) -> bool:
    """A branch that compares nothing."""
    return Trait.BRANCH in inst.spec.traits and all(o.kind is Kind.LABEL for o in inst.spec.operands)


def _paths(program: Program) -> Iterator[tuple[str, int | None]]:
    """From every instruction that can be reached, a halt can be reached, and the end cannot."""
    end = len(program.code)
    after = [successors(program, pc) for pc in range(end)]
    reached = _closure([0], after)
    before: list[list[int]] = [[] for _ in range(end)]
    for pc in reached:
        for follower in after[pc]:
            if follower == end:
                yield f"{program.code[pc].spec.mnemonic}: the program can run off its end", pc
            else:
                before[follower].append(pc)
    halts = [pc for pc in reached if Trait.HALT in program.code[pc].spec.traits]
    stuck = set(reached) - set(_closure([*halts, *(pc for pc in reached if end in after[pc])], before))
    if stuck:
        first = min(stuck)
        yield f"{program.code[first].spec.mnemonic}: no path leads from here to a halt", first


def _closure(start: list[int], edges: list[list[int]]) -> list[int]:
    """Everything that edges lead to from the start, in order; indices without edges are left out."""
    seen, todo = set(start), list(start)
    while todo:
        for follower in edges[todo.pop()]:
            if follower not in seen and follower < len(edges):
                seen.add(follower)
                todo.append(follower)
    return sorted(seen)


def _flags(program: Program) -> Iterator[tuple[str, int | None]]:
    """Between two pipes there is a set if there is a wait."""
    first: dict[tuple[int, int], dict[str, int]] = {}
    for pc, inst in enumerate(program.code):
        ends = [a for o, a in zip(inst.spec.operands, inst.args, strict=True) if o.kind is Kind.PIPE]
        if len(ends) == 2 and isinstance(ends[0], int) and isinstance(ends[1], int):
            first.setdefault((ends[0], ends[1]), {}).setdefault(inst.spec.mnemonic, pc)
    for (src, dst), uses in first.items():
        if len(uses) == 1:
            [(mnemonic, pc)] = uses.items()
            missing = "wait_flag" if mnemonic.startswith("set") else "set_flag"
            yield f"{mnemonic} from {Pipe(src).name} to {Pipe(dst).name} without any {missing}", pc


def _events(program: Program) -> Iterator[tuple[str, int | None]]:
    """All cores run this program: there is an event_set if there is an event_wait."""
    rows = (sync.EVENT_SET, sync.EVENT_WAIT)
    first = {row: next((pc for pc, inst in enumerate(program.code) if inst.spec == row), None) for row in rows}
    for row, other in (rows, rows[::-1]):
        if first[row] is not None and first[other] is None:
            yield f"{row.mnemonic} without any {other.mnemonic}", first[row]
