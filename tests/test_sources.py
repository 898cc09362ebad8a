"""What is kept on disk is kept under the sources that decide about it: none is forgotten in the lists of these."""

import subprocess
import sys
from pathlib import Path

import pytest

import pto
from pto.models.llama import keep as weights
from pto.runtime import keep as programs
from pto.sim import jit as objects

ROOT = Path(pto.__file__).parent
IMPORTED = """
import sys
import {module}
print(*(m.__file__ for name, m in sys.modules.items() if name.startswith("pto") and m.__file__), sep="\\n")
"""
# Texts of errors, what is kept itself, and how: they decide nothing about what is in it.
TEXTS = {"core/errors.py", "core/cache.py", "core/files.py"}


@pytest.mark.parametrize(("module", "sources", "others"), [
    ("pto.sim.compile", objects.SOURCES, {"isa/program.py", "sim/jit.py"}),
    ("pto.passes.pipeline", programs.SOURCES, set()),
    ("pto.models.llama.read", weights.SOURCES, {"core/types.py", "isa/program.py", "isa/spec.py", "isa/words.py",
                                                "core/processors.py"}),
])
def test_all_that_is_imported_is_among_the_sources(module, sources, others):
    done = subprocess.run([sys.executable, "-c", IMPORTED.format(module=module)], check=True, capture_output=True,
                          text=True)
    covered = {path for pattern in sources for path in ROOT.glob(pattern)}
    imported = {Path(line) for line in done.stdout.split() if not line.endswith("__init__.py")}
    assert {str(path.relative_to(ROOT)) for path in imported - covered} <= TEXTS | others
    assert all(list(ROOT.glob(pattern)) for pattern in sources)
