"""Defects planted in programs and passes: each is found, by a fact, the checker, the race oracle or the result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from pto.core.errors import CompilerBug, PtoError
from pto.core.target import DEFAULT
from pto.ir.graph import Buffer, Graph, Node
from pto.isa.check import require_legal
from pto.isa.program import Arg, Inst, Program, TileRef
from pto.passes import insert_flags, pipeline
from pto.passes.pipeline import Options, compile_graph
from pto.sim.happens_before import races
from tests.kernels import CASES, Bound, bind, on_slow

BY_NAME = {case.name: case for case in CASES}
Edit = Callable[[dict], dict]


def edited(program: Program, mnemonic: str, edit: Edit, which: int = 0) -> Program:
    """The program with other operands, by name, of one instruction: the `which`-th of its kind."""
    found = [pc for pc, inst in enumerate(program.code) if inst.spec.mnemonic == mnemonic]
    code = list(program.code)
    inst = code[found[which]]
    names = [o.name for o in inst.spec.operands]
    args: dict[str, Arg] = dict(zip(names, inst.args, strict=True))
    code[found[which]] = Inst(inst.spec, tuple((args | edit(args))[n] for n in names))
    assert code[found[which]] != inst
    return replace(program, code=tuple(code))


def swap(a: str, b: str) -> Edit:
    return lambda args: {a: args[b], b: args[a]}


def put(**values: Arg) -> Edit:
    return lambda args: values


def other_slot(name: str) -> Edit:
    return lambda args: {name: TileRef(args[name].tile, 0)}


def moved(program: Program, which: int, to: int) -> Program:
    tiles = list(program.tiles)
    tiles[which] = replace(tiles[which], address=tiles[to].address)
    return replace(program, tiles=tuple(tiles))


def capacity_min(program: Program, by: int) -> Program:
    """The first `min` with a constant: the valid rows or columns of a tile, wrong by a little."""
    at = next(i for i, inst in enumerate(x for x in program.code if x.spec.mnemonic == "min")
              if any(isinstance(a, int) and a > 1 for a in inst.args))
    return edited(program, "min", lambda args: {k: v + by for k, v in args.items() if isinstance(v, int)}, at)


def counted_from(program: Program, column: int) -> Program:
    """The first loop over the tiles of a row after the kept one begins at another column."""
    at = next(i for i, inst in enumerate(x for x in program.code if x.spec.mnemonic == "mov") if 64 in inst.args)
    return edited(program, "mov", put(a=column), at)


PROGRAM_DEFECTS = {
    "window of a store turned": ("gemm_loop", lambda p: edited(p, "tstore", swap("i", "j"))),
    "window of a load turned": ("gemm_loop", lambda p: edited(p, "tload", swap("i", "j"))),
    "rows and columns of a store swapped": ("vadd", lambda p: edited(p, "tstore", swap("rows", "cols"))),
    "valid region too small": ("gemm_loop", lambda p: capacity_min(p, -1)),
    "valid region too large": ("gemm_loop", lambda p: capacity_min(p, 1)),
    "accumulates from the start": ("gemm_loop", lambda p: edited(p, "tmatmul", put(acc=1))),
    "never accumulates": ("gemm_loop", lambda p: edited(p, "tmatmul", put(acc=0))),
    "one product less": ("gemm_loop", lambda p: edited(p, "tmatmul", put(k=15))),
    "operands of a difference swapped": ("normalise", lambda p: edited(p, "trowexpandsub", swap("rows", "cols"))),
    "load of the other argument": ("gemm_bias_relu", lambda p: edited(p, "tload", put(src=1))),
    "first tile of a row counted twice": ("normalise", lambda p: counted_from(p, 0)),
    "second tile of a row left out": ("normalise", lambda p: counted_from(p, 128)),
    "factor forgotten": ("gemm_bias_relu", lambda p: edited(p, "tmuls", put(scalar=1.0))),
    "buffers on each other": ("vadd", lambda p: moved(p, 0, 1)),
    "buffers of the vector unit on each other": ("normalise", lambda p: moved(p, 1, 0)),
    "always the first slot": ("gemm_loop", lambda p: edited(p, "tload", other_slot("dst"))),
    "always the first column of blocks": ("gemm_loop", lambda p: edited(p, "mod", put(b=1))),
    "wait for another flag": ("gemm_loop", lambda p: edited(p, "wait_flag", put(id=7), 0)),
    "set for another pipe": ("gemm_loop", lambda p: edited(p, "set_flag", put(dst=6), -1)),
}


def symptom(program: Program, bound: Bound, wanted: list) -> str:
    """What shows that a program is wrong; empty where nothing does."""
    try:
        require_legal(program)
        changed = replace(bound, program=program)
        results = on_slow(changed)
        for want, got in zip(wanted, results, strict=True):
            want.check(got)
        return "race" if races(program, bound.tensors, bound.parameters) else ""
    except PtoError as err:
        return err.code
    except AssertionError:
        return "result"


@pytest.mark.parametrize("name", PROGRAM_DEFECTS)
def test_a_defect_of_a_program_is_found(name):
    kernel, plant = PROGRAM_DEFECTS[name]
    case = BY_NAME[kernel]
    arguments = [np.abs(a) + np.float32(0.5) for a in case.arguments()]
    bound = bind(case.kernel, arguments)
    wanted = case.wanted(arguments)
    assert symptom(bound.program, bound, wanted) == ""
    assert symptom(plant(bound.program), bound, wanted)


def overlapping(graph: Graph) -> Graph:
    first, *rest = graph.buffers
    graph.buffers = (first, *(Buffer(b.name, b.type, b.slots, first.address) for b in rest))
    return graph


def without_sets(graph: Graph) -> Graph:
    for inner, key, node in list(graph.walk()):
        if node.op.name == "set_flag":
            attrs = tuple((k, 5 if k == "dst" else v) for k, v in node.attrs)
            inner.nodes[key] = Node(node.op, node.inputs, attrs, node.type, node.locs)
            break
    return graph


def unplaced(graph: Graph) -> Graph:
    graph.buffers = tuple(Buffer(b.name, b.type, b.slots) for b in graph.buffers)
    return graph


def renamed_buffer(graph: Graph) -> Graph:
    graph.buffers = (replace(graph.buffers[0], name="elsewhere"), *graph.buffers[1:])
    return graph


def wrong_level(graph: Graph) -> Graph:
    graph.level = "tensor"
    return graph


PASS_DEFECTS = {
    "allocate puts live buffers on each other": ("allocate", overlapping),
    "allocate places nothing": ("allocate", unplaced),
    "allocate renames a buffer": ("allocate", renamed_buffer),
    "insert_flags sets for a pipe that never waits": ("insert_flags", without_sets),
    "bufferize gives another level": ("bufferize", wrong_level),
    "tile_to_block gives another level": ("tile_to_block", wrong_level),
    "tensor_to_tile gives another level": ("tensor_to_tile", wrong_level),
}


@pytest.mark.parametrize("name", PASS_DEFECTS)
def test_a_defect_of_a_pass_is_found_and_the_pass_named(name, monkeypatch):
    step, plant = PASS_DEFECTS[name]
    case = BY_NAME["gemm_bias_relu"]
    bind(case.kernel, case.arguments())
    graph = case.kernel.compiled().compiled.stages[0].graph
    compile_graph(graph, Options(DEFAULT, {}))
    right = getattr(pipeline, step)
    monkeypatch.setattr(pipeline, step, lambda *args, **options: plant(right(*args, **options)))
    with pytest.raises(CompilerBug, match=step.replace("_", "-")):
        compile_graph(graph, Options(DEFAULT, {}))


SCHEDULE = {
    "forward": lambda flags: [f for f in flags if f.back],
    "back": lambda flags: [f for f in flags if not f.back],
    "all": lambda flags: [],
}


@pytest.mark.parametrize("lost", SCHEDULE)
def test_flags_that_are_not_inserted_give_a_race(lost, monkeypatch):
    right = insert_flags.needed
    monkeypatch.setattr(insert_flags, "needed", lambda *given: SCHEDULE[lost](right(*given)))
    case = BY_NAME["gemm_loop"]
    bound = bind(case.kernel, case.arguments())
    graph = case.kernel.compiled().compiled.stages[0].graph
    program = compile_graph(graph, Options(DEFAULT, dict(case.kernel.options))).program
    assert races(program, bound.tensors, bound.parameters)
