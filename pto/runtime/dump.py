"""Every level of a compilation as text files, to be read, edited and fed back."""

from __future__ import annotations

from pathlib import Path

from pto.core.errors import UsageError
from pto.ir.text import text
from pto.isa.disasm import disassemble
from pto.passes.pipeline import Compiled

SUFFIX = ".graph"


def dump(compiled: Compiled, directory: Path) -> list[Path]:
    """Write the graph after each pass and the program; gives the files.

    Raises:
        UsageError: the directory cannot be written to.
    """
    name = compiled.program.name
    contents = {f"{name}.{n:02}-{s.name}-{s.graph.level}{SUFFIX}": text(s.graph) for n, s in enumerate(compiled.stages)}
    contents[f"{name}.{len(compiled.stages):02}-program.ptoas"] = disassemble(compiled.program)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for file, content in contents.items():
            (directory / file).write_text(content, encoding="utf-8")
    except OSError as err:
        raise UsageError(f"{directory}: {err.strerror}") from None
    return [directory / file for file in contents]
