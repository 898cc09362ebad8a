"""Programs from the text of a graph of any level."""

from __future__ import annotations

from pathlib import Path

from pto.core.target import DEFAULT, Target
from pto.ir.parse import parse
from pto.isa.program import Program
from pto.passes.pipeline import Options, compile_graph


def program(text: str, file: Path, target: Target = DEFAULT) -> Program:
    """Parse a graph, and lower it from its level on.

    Raises:
        GraphTextError: the text is no graph, or the graph is not well formed.
    """
    return compile_graph(parse(text, str(file)), Options(target)).program
