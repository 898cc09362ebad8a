"""The command line. Each subcommand is a file; its imports are paid for only when it runs."""

from __future__ import annotations

import logging
import sys

import click

from pto import __version__
from pto.cli.lazy import Commands
from pto.core.errors import CompilerBug, PtoError

# name: (module, what it does); listed in this order
COMMANDS = {
    "run": ("pto.cli.run", "Run a Python script of kernels, or a compiled program on arrays."),
    "compile": ("pto.cli.compile", "Compile a kernel to a .pto program file."),
    "disasm": ("pto.cli.disasm", "Show a program as assembly, with the Python line beside each instruction."),
    "graph": ("pto.cli.graph", "Show a kernel's graph at one of its four levels."),
    "verify": ("pto.cli.verify", "Run every level of a kernel, and name the first pass that changed a value."),
    "asm": ("pto.cli.asm", "Assemble text to a .pto program file."),
    "check": ("pto.cli.check", "Check a program against the static rules of its target."),
    "generate": ("pto.cli.generate", "Continue a text with a language model."),
    "chat": ("pto.cli.chat", "Talk with a language model."),
    "compare": ("pto.cli.compare", "Compare two precisions of a language model, layer by layer."),
    "model": ("pto.cli.model", "Fetch models, and show what they are."),
    "cache": ("pto.cli.cache", "Show what is kept on disk between runs, and remove it."),
    "isa": ("pto.cli.isa", "Show the instruction set, or one instruction."),
}
EXAMPLES = """\b
Examples:
  pto run examples/03_matmul.py
  pto disasm examples/03_matmul.py:matmul
  pto graph examples/03_matmul.py:matmul --level block
"""


@click.group(cls=Commands, rows=COMMANDS, epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pto", message="%(prog)s %(version)s")
def pto() -> None:
    """Tile kernels in Python, compiled to a virtual accelerator that runs at native speed."""


def _say_what_takes_long() -> None:
    """What is logged is shown on a terminal; it is not mixed with what a script logs."""
    if sys.stderr.isatty():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("pto: %(message)s"))
        log = logging.getLogger("pto")
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False


def main() -> None:
    """The entry point: every mistake of a user ends in one clear message and a documented exit code."""
    _say_what_takes_long()
    try:
        pto.main(standalone_mode=False)
    except click.ClickException as err:
        err.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except PtoError as err:
        click.echo(str(err), err=True)
        sys.exit(err.exit_code)
    except CompilerBug as err:
        click.echo(f"{err}\n\nThis is a defect of pto, not of your kernel: please report it with the kernel.", err=True)
        sys.exit(70)
