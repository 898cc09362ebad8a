"""A graph of any level as text. `parse.py` reads it back to an equal graph."""

from __future__ import annotations

from typing import Any

from pto.core.types import EFFECT, INDEX
from pto.ir.graph import Graph, Node, captures
from pto.ir.ops import ARG, CONST, DIM, FOR, GET, PARAM, choices
from pto.isa.spec import Kind, Pipe

INDENT = "  "
HIDDEN = {"name", "slot", "index", "tiles"}  # said by position or by name


class Printer:
    """Names values in the order of printing, and writes one line an operation."""

    def __init__(self, graph: Graph, spans: bool) -> None:
        self.root, self.spans = graph, spans
        self.names: dict[tuple[int, int], str] = {}
        self.where: dict[int, int] = {}  # the line of each node, by its identity
        self.lines: list[str] = []
        self.count = 0

    def run(self) -> str:
        root = self.root
        head = []
        ranges = {s.name: f" in {s.low} .. {s.high}" for s in root.symbols}
        for key, node in root.items():
            if node.op in (DIM, ARG):
                self.names[id(root), key] = f"%{node['name']}"
            if node.op is DIM:
                head.append(f"%{node['name']}: index{ranges.get(node['name'], '')}")
            elif node.op is ARG:
                room = f" result={node['result']}" if node["result"] else ""
                head.append(f"%{node['name']}: {node.type}{room}")
        self.lines.append(f"{root.level} {root.name}({', '.join(head)}) {{")
        for b in root.buffers:
            self.lines.append(f"{INDENT}buffer @{b.name} : {b.type} slots={b.slots} at={b.address}")
        self.block(root, INDENT)
        return "\n".join([*self.lines, "}", ""])

    def name(self, graph: Graph, key: int) -> str:
        """A value's name here; constants are written out."""
        node = graph[key]
        if node.op is CONST:
            return str(node["value"])
        if (id(graph), key) not in self.names:
            self.names[id(graph), key] = f"%{self.count}"
            self.count += 1
        return self.names[id(graph), key]

    def block(self, graph: Graph, pad: str) -> None:
        for key, node in graph.items():
            self.where[id(node)] = len(self.lines)
            if node.op is FOR:
                self.loop(graph, key, node, pad)
            elif node.op not in (CONST, DIM, ARG, PARAM, GET):
                self.operation(graph, key, node, pad)
        if graph.outputs:
            word = "yield" if graph.outer else "return"
            self.lines.append(f"{pad}{word} {', '.join(self.name(graph, k) for k in graph.outputs)}")

    def loop(self, graph: Graph, key: int, node: Node, pad: str) -> None:
        body = node.body
        assert body is not None
        low, high, step, *rest = (self.name(graph, i) for i in node.inputs)
        for outer, inner in captures(node):
            self.names[id(body), inner] = self.name(graph, outer)
        counter, *carried = (self.name(body, p) for p in body.params[:1 + node.carried])
        carry = ", ".join(f"{p} = {v}" for p, v in zip(carried, rest[:node.carried], strict=True))
        gets = {n["index"]: k for k, n in graph.users(key) if n.op is GET}
        results = ", ".join(self.name(graph, gets[i]) for i in range(node.carried))
        words = [f"{results} = for" if results else "for", counter, "in", low, "..", high, "by", step]
        words += [f"carry ({carry})"] * bool(carry) + [f"{k}={v}" for k, v in node.attrs] + ["{"]
        self.lines.append(pad + " ".join(words) + self.span(node))
        self.block(body, pad + INDENT)
        self.lines.append(pad + "}")

    def operation(self, graph: Graph, key: int, node: Node, pad: str) -> None:
        operands = self.operands(graph, node)
        words = [f"{self.name(graph, key)} ="] if node.type != EFFECT else []
        words.append(node.op.name)
        if operands:
            words.append(", ".join(operands))
        shown = choices(node.op.instr) if node.op.instr is not None and _is_execution(node) else None
        words += [f"{k}={_literal(v)}" for k, v in node.attrs if (k in shown if shown is not None else k not in HIDDEN)]
        if node.type not in (EFFECT, INDEX):
            words.append(f": {node.type}")
        self.lines.append(pad + " ".join(words) + self.span(node))

    def operands(self, graph: Graph, node: Node) -> list[str]:
        inputs = [self.name(graph, i) for i in node.inputs]
        if not _is_execution(node):
            return inputs
        assert node.op.instr is not None
        tiles = iter(dict(node.attrs).get("tiles", ()))
        values, out = iter(inputs), []
        for operand in node.op.instr.operands:
            if operand.kind is Kind.TILE:
                offset = next(values)
                out.append(f"@{next(tiles)}" + (f"[{offset}]" if offset != "0" else ""))
            elif operand.kind is Kind.INDEX:
                out.append(next(values))
            elif operand.kind is Kind.PIPE:
                out.append(Pipe(node[operand.name]).name)
            else:
                out.append(_literal(node[operand.name]))
        return out

    def span(self, node: Node) -> str:
        shown = ", ".join(loc.short for loc in node.locs)
        return f"  ; {shown}" if shown and self.spans else ""


def _is_execution(node: Node) -> bool:
    """An instruction on buffers: it is no value, and its operands follow the instruction's row."""
    return node.op.instr is not None and node.type == EFFECT


def _literal(value: Any) -> str:
    return repr(float(value)) if isinstance(value, float) else str(value)


def text(graph: Graph, *, spans: bool = True) -> str:
    """The graph as text, with or without the user's spans."""
    return Printer(graph, spans).run()


def line(graph: Graph, node: Node) -> tuple[int, str]:
    """Where a node of a graph is in its text, from 1 on, and what is written there."""
    printer = Printer(graph, spans=False)
    printer.run()
    at = printer.where[id(node)]
    return at + 1, printer.lines[at].strip()


def same(a: Graph, b: Graph) -> bool:
    """Equal graphs: the same text, spans included."""
    return text(a) == text(b)
