"""Bugs that are planted in the compiler to see that random kernels find them: a table of edits of its functions.

Each row names a function and a piece of its text, and what stands there instead. A row whose text is no longer found
fails the tests: the bug is to be planted in what the function became.
"""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from tests.fuzz.arrays import ArrayWriter
from tests.fuzz.generate import Writer, generate
from tests.fuzz.judge import Senseless, judge


@dataclass(frozen=True)
class Bug:
    """An edit of one function: `place` is a module of the compiler and a name in it; kernels of a `kind` find it."""

    name: str
    place: str
    old: str
    new: str
    kind: type[Writer] = Writer


E, T, B = "passes.expression:Expression.", "passes.materialise:", "passes.tile_to_block:ToBlock."
S = "passes.simplify:Simplify."
A, F, W = "passes.allocate:", "passes.insert_flags:", "passes.windows:Windows."
BUGS = tuple(Bug(*row) for row in (
    ("a sum starts at one", "passes.reducing:neutral", "scalar=one.neutral(kind)", "scalar=1.0"),
    ("parts of a maximum are added", "passes.reducing:merged", "make(row.combine, ", 'make("add", '),
    ("tail as long as the whole axis", W + "valid", 'graph.index("sub", size, start)', "size"),
    ("offset of a batch lost", W + "window", 'graph.index("madd", first, rows, at.i)', "at.i"),
    ("an axis of one is no broadcast", W + "leading", "0 if extent == 1 else c", "c"),
    ("a column read at the tile's column", E + "narrow", "replace(at, j=0, cols=1)", "replace(at, cols=1)"),
    ("a row read at the tile's row", E + "narrow", "i=0, rows=1", "rows=1"),
    ("offset of a leading axis of a view lost", W + "seen", 'graph.index("madd", coordinate, stride, offset)',
     "offset"),
    ("always the first slice of k", E + "sums", "replace(at, j=kk, cols=k,", "replace(at, j=0, cols=k,"),
    ("slices of k one too far apart", E + "sums", "(0, inner, k)", "(0, inner, k + 1)"),
    ("the first tile of a row left out", E + "row", "wide if self.keeps else 0", "wide"),
    ("rows of a table from its first column", E + "gathered", "index, at.j, count", "index, 0, count"),
    ("always the first slice of a stream", E + "stream", "part(body, kk, sums[0])", "part(body, 0, sums[0])"),
    ("a value read after it was overwritten", T + "Costs._overtaken", "if not between:", "if True:"),
    ("a tensor overwritten while it is read", T + "Costs.clobbers", "return bool(leaves) and far", "return False"),
    ("carried tensors swapped one by one", T + "Materialise.carry", "len(fresh) > 1 or ", ""),
    ("a carried tensor is not replaced", T + "Materialise.replaced", "key != body.params[1 + position]", "False"),
    ("every part stored at the start", "passes.tensor_to_tile:TensorToTile.visit", "env[view[0]]", "0"),
    ("operands of a difference swapped", B + "elementwise", "Trait.COMMUTATIVE in row.traits and ", ""),
    ("rows and columns expanded as each other", B + "elementwise", "BY_COLUMN, (1, type.cols): BY_ROW",
     "BY_ROW, (1, type.cols): BY_COLUMN"),
    ("valid region of a result lost", B + "elementwise", "valid=(rows, cols)", "valid=(None, None)"),
    ("a reduction reads beyond the valid region", B + "reduction", "*self.size(tile), type", "*shape(tile), type"),
    ("a product never accumulates", B + "matmul", 'body.index("lt", 0, body.index("add", before, k0))', "0"),
    ("a product accumulates on what was there", B + "matmul", 'body.index("lt", 0, body.index("add", before, k0))',
     "1"),
    ("columns of a product from the wrong extent", B + "matmul", "(_, n) = ", "(n, _) = "),
    ("k of a product is the capacity", B + "matmul", "kk = k if", "kk = piece if"),
    ("what came before a product forgotten", B + "accumulate", "found.before", "0"),
    ("block number divided by the wrong count", B + "grid", "reversed(counts[1:])", "reversed(counts[:-1])"),
    ("the last block left out", B + "grid", "(self.core, total, self.cores)",
     '(self.core, new.index("sub", total, 1), self.cores)'),
    ("every core begins with the first block", B + "grid", "(self.core, total, self.cores)", "(0, total, self.cores)"),
    ("blocks counted without the tail", B + "trips", 'new.index("sub", step, 1)', "0"),
    ("carried tiles swapped one by one", B + "saved", "sorted(moved)", "sorted(())"),
    ("a carried tile overwritten while it is needed", B + "next", "if overwrites or", "if"),
    ("an initial value overwritten by its loop", B + "own", "if isinstance(init, Fill) or not (", "if True or not ("),
    ("start and step of a sequence swapped", B + "iota", "*inputs, node", "inputs[0], inputs[2], inputs[1], node"),
    ("a result in the place of what is still needed", "passes.bufferize:in_place", "dies = ", "dies = True or "),
    ("a carried value in another buffer", "passes.bufferize:sharing",
     "classes.union((id(body), parameter), (id(body), output))", "classes[id(body), parameter]"),
    ("buffers alive together share bytes", A + "Allocator.together",
     "self.accesses.live(b.name)[1] >= self.accesses.live(buffer.name)[0]", "False"),
    ("a buffer's life ends inside a loop", "passes.accesses:Accesses._live", "if len(last.chain) > depth else",
     "if False else"),
    ("room for one slot of two", A + "Allocator.place", "if at + need > capacity",
     "if at + self.size(buffer) > capacity"),
    ("always the first slot", A + "_Slots.offset", 'graph.index("mul", self.parity[id(self.owner[name])], '
     'self.size[name])', "0"),
    ("parity that stays", A + "_Slots.owning", 'inner.index("xor", carried[-1], 1)', "carried[-1]"),
    ("no barrier before what was written is read", "passes.insert_barriers:Slots.conflicts",
     "(later.reads | later.writes)", "later.writes"),
    ("no barrier from one turn to the next", "passes.insert_barriers:Barriers.walk", "self.walk(node.body, once)",
     "once"),
    ("no core waits for what the first one did alone", "passes.insert_barriers:Pending.barrier",
     "not alone and self.first", "alone and self.first"),
    ("a grid of some blocks is the first core's", "passes.insert_barriers:Barriers.is_alone", "<= 1", "<= 1 << 30"),
    ("no flag from one turn to the next", F + "wanted", "(j < i and not repeats)", "j < i"),
    ("flags dropped that are needed", F + "needed", "if schedule.ordered(kept - {number}, gone=number):",
     "if flags[number].back:"),
    ("innermost loops all run alike", "passes.trips:brief_courses", "in brief]", "in ()]"),
    ("what is read may be overwritten", F + "Conflicts.between", "a in x.writes or b in y.writes", "a in x.writes"),
    ("two flags with one id", "passes.flag_ids:number", "around[-1] + flag.slots", "around[-1]"),
    ("flags that are up together have one id", "passes.order:_clashing", "(unknown or carried[other])", "False"),
    ("a flag is set again too soon", "passes.order:_clashing", "(unknown or carried[other])", "carried[other]"),
    ("both slots wait for one flag", F + "_Insert.put", 'graph.index("add", self.parity[id(flag.body)], number)',
     "number"),
    ("one of two slots is primed", F + "_Insert.ends", "range(flag.slots)", "range(1)"),
    ("a register used again inside of its loop", "passes.emit:Emitter._stretch", "ends[number] = first, stop",
     "ends[number] = first, last"),
    ("a program for any extents", "runtime.variant:Variant.fits", "return picked(fixed, extents) == values and",
     "return True or"),
    ("an extent of one is one in every call", "lang.symbols:Symbols.pin", "self.same[extent] = value", "pass"),
    ("a piece begins without its stride", "lang.views:narrowed", "start * found.strides[axis]", "start"),
    ("a subscript without its stride", "lang.views:select", "_position(part, extent) * stride",
     "_position(part, extent)"),
    ("axes turned, strides not", "lang.values:Tensor.permute", "[found.strides[a] for a in axes]",
     "list(found.strides)"),
    ("joined tensors on each other", "lang.language:concat", "start + width", "start"),
    ("both sides of a branch on one condition", "lang.language:branch", "(1 - test, other)", "(test, other)"),
    ("a window past its tensor", "lang.views:span", 'graph.index("min", extent, left)', "extent"),
)) + tuple(Bug(*row, kind=ArrayWriter) for row in (
    ("a scalar folded past a store", S + "source", "self.last.get(memory(found), 0) <= self.born[inner]", "True"),
    ("an array under another name is what it was", "lang.trace:Tracer.latest", "value in self.next", "False"),
    ("rows moved onto rows that are read later", T + "moves_within", "return strides != others or", "return False and"),
))


def found_at(place: str) -> tuple[Any, str, Any]:
    """The module or class that a function is in, its name there, and what is there."""
    module, _, path = place.partition(":")
    owner: Any = import_module(f"pto.{module}")
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    return owner, name, inspect.getattr_static(owner, name)


def edited(bug: Bug) -> Any:
    """The function with the bug in it."""
    owner, name, right = found_at(bug.place)
    function = inspect.unwrap(getattr(right, "func", getattr(right, "fget", right)))
    text = textwrap.dedent(inspect.getsource(function))
    if text.count(bug.old) < 1:
        raise LookupError(f"{bug.place} has no {bug.old!r} any more: plant {bug.name!r} anew")
    text = textwrap.indent(text.replace(bug.old, bug.new), "    ")
    space = dict(vars(sys.modules[function.__module__]))
    code = f"from __future__ import annotations\ndef make(__class__):\n{text}\n    return {name}\n"
    exec(compile(code, f"<{bug.name}>", "exec"), space)
    made = space["make"](owner)
    if hasattr(made, "__set_name__"):
        made.__set_name__(owner, name)
    return made


@contextmanager
def planted(bug: Bug) -> Iterator[None]:
    """The compiler with a bug, wherever the function is known by its name."""
    owner, name, right = found_at(bug.place)
    made = edited(bug)
    places = [(owner, name)]
    if inspect.ismodule(owner):
        places += [(m, name) for n, m in list(sys.modules.items())
                   if n.partition(".")[0] == "pto" and m is not owner and vars(m).get(name) is right]
    for where, called in places:
        setattr(where, called, made)
    try:
        yield
    finally:
        for where, called in places:
            setattr(where, called, right)


def found_after(bug: Bug, count: int, first: int = 0) -> int:
    """How many kernels of its kind it took to find a bug; 0: so many did not."""
    cases = (generate(number, kind=bug.kind)[0] for number in range(first, first + count))
    for number, case in enumerate(cases, start=1):
        with planted(bug):
            try:
                found = judge(case)
            except Senseless:
                continue
        if found.kind and not judge(case).kind:  # no defect of the compiler as it is
            return number
    return 0
