"""What a command is pointed at: a program file, assembly, or kernels in a Python file."""

from __future__ import annotations

import re
import runpy
import sys
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pto.core.dtypes import DTYPES, TensorType
from pto.core.errors import PtoFormatError, UsageError
from pto.isa.file import load
from pto.isa.program import Program

if TYPE_CHECKING:
    from pto.runtime.kernel import Kernel

_SPEC = re.compile(r"(\w+)=(\w+)\[([\w, ]*)\]")
argument_types = click.option(
    "--arg", "specs", multiple=True, metavar="NAME=f32[M,K]",
    help="The type of an argument that is not annotated; once for each.")


@dataclass(frozen=True, slots=True)
class Place:
    """FILE or FILE:NAME."""

    file: Path
    name: str = ""

    @property
    def is_python(self) -> bool:
        return self.file.suffix == ".py"


def place(text: str) -> Place:
    """Split FILE[:NAME].

    Raises:
        UsageError: there is no such file.
    """
    file, colon, name = text.rpartition(":")
    if not colon or Path(text).exists():
        file, name = text, ""
    if not Path(file).is_file():
        raise UsageError(f"there is no file {file}")
    return Place(Path(file), name)


def kernels(where: Place) -> dict[str, Kernel]:
    """The kernels that a Python file defines, or the named one. The file runs, but not as the main program.

    Raises:
        UsageError: it defines none, or none of that name.
    """
    Kernel = import_module("pto.runtime.kernel").Kernel  # commands that compile nothing import no compiler

    sys.path.insert(0, str(where.file.resolve().parent))
    found = runpy.run_path(str(where.file), run_name="__pto__")
    mine = {name: value for name, value in found.items() if isinstance(value, Kernel)}
    if not mine:
        raise UsageError(f"{where.file} defines no kernel", hint="decorate a function with @pt.tile_kernel")
    if not where.name:
        return mine
    if where.name not in mine:
        close = get_close_matches(where.name, mine, n=1) or list(mine)[:1]
        raise UsageError(f"{where.file} has no kernel {where.name}", hint=f"did you mean {close[0]}?")
    return {where.name: mine[where.name]}


def typed(kernel: Kernel, specs: tuple[str, ...]) -> Kernel:
    """A kernel whose arguments have the types given on the command line.

    Raises:
        UsageError: a type is not of the form NAME=f32[M,K].
    """
    for spec in specs:
        found = _SPEC.fullmatch(spec.replace(" ", ""))
        if found is None or found[2] not in DTYPES:
            raise UsageError(f"{spec} is not the type of an argument", hint="write NAME=f32[M,K]")
        if found[1] in kernel.source.parameters:
            dims = tuple(int(d) if d.isdigit() else d for d in found[3].split(",") if d)
            kernel.declare(found[1], TensorType(DTYPES[found[2]], dims))
    return kernel


def programs(where: Place, specs: tuple[str, ...] = ()) -> list[Program]:
    """The programs of a program file, of assembly, or of the kernels in a Python file."""
    if where.is_python:
        return [typed(k, specs).program() for k in kernels(where).values()]
    if where.file.suffix == ".pto":
        return [load(where.file)]
    if where.file.suffix == ".graph":
        return [import_module("pto.runtime.graphs").program(read(where.file).decode("utf-8", "replace"), where.file)]
    assemble = import_module("pto.isa.asm").assemble  # a parser generator: only for text
    return [assemble(read(where.file).decode("utf-8", errors="replace"), str(where.file))]


def read(file: Path) -> bytes:
    """A file's bytes.

    Raises:
        PtoFormatError: it cannot be read.
    """
    try:
        return file.read_bytes()
    except OSError as err:
        raise PtoFormatError(f"{file}: {err.strerror}") from None
