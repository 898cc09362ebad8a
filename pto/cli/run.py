"""`pto run`: a Python script of kernels, or a compiled program on arrays."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from pto.cli.sources import Place, place, programs
from pto.core.errors import PtoFormatError, UsageError
from pto.runtime.launch import run_program


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": True})
@click.argument("file")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.option("--arg", "arrays", multiple=True, metavar="NAME=FILE.npy", help="An array for a tensor of a program.")
@click.option("--param", "parameters", multiple=True, metavar="NAME=N", help="A parameter that no array tells.")
@click.option("--out", "outputs", multiple=True, metavar="NAME=FILE.npy", help="Where to write a result.")
@click.option("--cores", default=1, show_default=True, help="Virtual cores of a program run.")
@click.option("--threads", default=1, show_default=True, help="Host threads of a program run.")
@click.option("--exact", is_flag=True, help="Reductions as left folds, bit for bit as the manual says.")
@click.option("--dump", type=click.Path(path_type=Path), help="Write every level of each kernel to this directory.")
@click.option("--fuel", type=int, help="Stop a program after this much work.")
@click.option("--check", default="", metavar="NAMES", help="Look for races,uninitialised reads, or all.")
def command(file: str, arguments: tuple[str, ...], arrays: tuple[str, ...], parameters: tuple[str, ...],
            outputs: tuple[str, ...], cores: int, threads: int, exact: bool, dump: Path | None,
            fuel: int | None, check: str) -> None:
    """Run a Python script of kernels, or a compiled program on arrays.

    FILE.py runs as Python would run it, and gets the ARGUMENTS. FILE.pto (or assembly, FILE.ptoas, or a graph of any
    level, FILE.graph) takes its tensors from .npy files; what it writes is printed, or saved with --out.

    \b
    Examples:
      pto run examples/03_matmul.py
      pto run matmul.pto --arg A=a.npy --arg B=b.npy --out result2=c.npy
    """
    where = place(file)
    if dump is not None:
        os.environ["PTO_DUMP_DIR"] = str(dump)
    if where.is_python:
        return _script(where, arguments)
    if arguments:
        raise UsageError(f"{arguments[0]} means nothing to a program", hint="see pto run --help")
    [program] = programs(where)
    given = {name: _load(path) for name, path in _pairs(arrays)}
    values = {name: _integer(name, text) for name, text in _pairs(parameters)}
    results, stats = run_program(
        program, given, values, cores=cores, threads=threads, exact=exact, fuel=fuel, check=check
    )
    targets = dict(_pairs(outputs))
    for name in targets:
        if name not in results:
            raise UsageError(f"the program does not write {name}", hint=f"it writes {', '.join(results)}")
    for name, array in results.items():
        if name in targets:
            np.save(targets[name], array)
        else:
            click.echo(f"{name}: float32 {'x'.join(map(str, array.shape))}\n{array}")
    click.echo(f"{stats.tile:,} tile and {stats.scalar:,} scalar instructions", err=True)
    return None


def _script(where: Place, arguments: tuple[str, ...]) -> None:
    """As `python FILE` does: the file's folder comes first on the path, and the file is the main program."""
    sys.argv = [str(where.file), *arguments]
    sys.path.insert(0, str(where.file.resolve().parent))
    runpy.run_path(str(where.file), run_name="__main__")


def _pairs(texts: tuple[str, ...]) -> list[tuple[str, str]]:
    found = [text.partition("=") for text in texts]
    for name, equals, value in found:
        if not (name and equals and value):
            raise UsageError(f"{name} is not of the form NAME=VALUE")
    return [(name, value) for name, _, value in found]


def _integer(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"{name} is an integer, not {text}") from None


def _load(path: str) -> NDArray[np.generic]:
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, ValueError, EOFError) as err:
        raise PtoFormatError(f"{path} is not a .npy array: {err}") from None
