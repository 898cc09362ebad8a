"""The command line, as a process: what it prints, how it ends, what it imports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
ENVIRON = {**os.environ, "PYTHONPATH": str(ROOT)}
KERNELS = '''import numpy as np
import pto as pt


@pt.tile_kernel
def matmul(A: pt.f32["M", "K"], B: pt.f32["K", "N"]):
    return pt.matmul(A, B)


@pt.tile_kernel
def plain(x, y):
    return x + y


if __name__ == "__main__":
    import sys
    print("ran", sys.argv[1:], matmul(np.ones((3, 4), np.float32), np.ones((4, 5), np.float32)).sum())
'''
BAD = {
    "shape.py": "import numpy as np\nimport pto as pt\n@pt.tile_kernel\ndef k(a, b):\n    return pt.matmul(a, b)\n"
                "k(np.ones((3, 4), np.float32), np.ones((5, 6), np.float32))\n",
    "large.py": "import pto as pt\n@pt.tile_kernel(tile_m=2048, tile_n=2048)\n"
                'def k(a: pt.f32["M", "K"], b: pt.f32["K", "N"]):\n    return pt.matmul(a, b)\n',
    "none.py": "x = 1\n",
    "text.pto": "this is no program",
    "empty.pto": "",
    "wrong.ptoas": ".program x\n.target V9\n  halt\n",
    "array.npy": "no array",
    "zeros.ptoas": "\0\0",
    "name.py": "import numpy as np\nimport pto as pt\n@pt.tile_kernel(tile_m=8)\ndef k(x):\n    return x * tile_n\n"
               "k(np.ones((3, 4), np.float32))\n",
    "syntax.py": "def f(:\n", "imports.py": "import nosuch\n",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("cli")
    (where / "kernels.py").write_text(KERNELS)
    for name, content in BAD.items():
        (where / name).write_text(content)
    np.save(where / "a.npy", np.ones((3, 4), np.float32))
    np.save(where / "b.npy", np.full((4, 5), 2, np.float32))
    np.savez(where / "several.npz", a=np.ones(3))
    assert run(where, "compile", "kernels.py:matmul", "-o", "m.pto").returncode == 0
    return where


def run(folder: Path, *words: str, shell: str = "") -> subprocess.CompletedProcess[str]:
    if shell:
        words = "bash", "-o", "pipefail", "-c", f"{sys.executable} -m pto {shell}"
    else:
        words = sys.executable, "-m", "pto", *words
    return subprocess.run(words, cwd=folder, text=True, env=ENVIRON, capture_output=True, timeout=60)


@pytest.mark.parametrize(("words", "expected"), [
    (["--version"], "pto 0."), (["--help"], "disasm"), (["isa"], "tmatmul"), (["isa", "tadd"], "dst = a + b"),
    (["run", "kernels.py", "one", "two"], "ran ['one', 'two'] 60.0"),
    (["disasm", "kernels.py:matmul"], "return pt.matmul(A, B)"), (["disasm", "m.pto"], "return pt.matmul(A, B)"),
    (["graph", "kernels.py:matmul"], "tile matmul("), (["graph", "kernels.py:matmul", "--level", "all"], "execution"),
    (["graph", "kernels.py:matmul", "--level", "tensor", "--no-spans"], "tensor.matmul %A, %B"),
    (["compile", "kernels.py:matmul", "--explain"], "acc has one slot, and two would let pipes overlap: l0c is full"),
    (["run", "--check", "all", "kernels.py"], "ran [] 60.0"),
    (["verify", "kernels.py:plain", "--arg", "x=f32[M,N]", "--arg", "y=f32[M,N]"], "every step agrees"),
    (["check", "m.pto"], "legal"), (["check", "kernels.py:matmul"], "legal"),
    (["disasm", "kernels.py:plain", "--arg", "x=f32[N]", "--arg", "y=f32[N]"], "tadd"),
    (["run", "m.pto", "--arg", "A=a.npy", "--arg", "B=b.npy"], "result2: float32 3x5\n[[8. 8."),
    (["run", "m.pto", "--arg", "A=a.npy", "--arg", "B=b.npy", "--cores", "3", "--exact"], "[[8. 8."),
])
def test_commands_print_what_they_should(folder, words, expected):
    done = run(folder, *words)
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout
    assert "Traceback" not in done.stderr


def test_a_result_goes_to_a_file(folder):
    done = run(folder, "run", "m.pto", "--arg", "A=a.npy", "--arg", "B=b.npy", "--out", "result2=c.npy")
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(folder / "c.npy"), np.full((3, 5), 8))


def test_assembly_gives_the_same_bytes(folder):
    (folder / "m.ptoas").write_text(run(folder, "disasm", "m.pto").stdout)
    done = run(folder, "asm", "m.ptoas", "-o", "again.pto")
    assert done.returncode == 0, done.stderr
    assert (folder / "again.pto").read_bytes() == (folder / "m.pto").read_bytes()
    done = run(folder, "run", "m.ptoas", "--arg", "A=a.npy", "--arg", "B=b.npy")
    assert "[[8. 8." in done.stdout


@pytest.mark.parametrize(("words", "code", "expected"), [
    ([], 2, "Usage"), (["unknown"], 2, "No such command"), (["run"], 2, "Missing argument"),
    (["run", "m.pto", "--nonsense"], 2, "nonsense"),
    (["run", "missing.py"], 2, "no file missing.py"), (["graph", "none.py"], 2, "defines no kernel"),
    (["graph", "kernels.py:matmull"], 2, "did you mean matmul?"), (["isa", "taddd"], 2, "did you mean tadd?"),
    (["graph", "kernels.py:matmul", "--level", "tiles"], 2, "tiles"),
    (["compile", "kernels.py", "-o", "x.pto"], 2, "several kernels"),
    (["compile", "kernels.py:plain", "-o", "x.pto"], 4, "annotate it"),
    (["disasm", "kernels.py:plain", "--arg", "x=f99[N]"], 2, "not the type"),
    (["run", "m.pto", "--arg", "A=a.npy"], 2, "--arg B=FILE.npy"), (["run", "m.pto", "--arg", "A"], 2, "NAME=VALUE"),
    (["run", "m.pto", "--arg", "A=a.npy", "--arg", "A=b.npy"], 2, "--arg A is given twice"),
    (["run", "m.pto", "--arg", "A=a.npy", "--arg", "B=b.npy", "--param", "Z=3"], 2, "no parameter Z"),
    (["run", "m.pto", "--arg", "A=a.npy", "--arg", "B=b.npy", "--param", "M=x"], 2, "an integer"),
    (["run", "m.pto", "--arg", "A=a.npy", "--arg", "B=b.npy", "--cores", "100000000"], 2, "has 32 cores"),
    (["run", "m.pto", "--arg", "A=a.npy", "--arg", "B=b.npy", "--fuel", "-1"], 2, "--fuel"),
    (["run", "m.pto", "--arg", "A=a.npy", "--arg", "B=b.npy", "--out", "result2=no/c.npy"], 2, "folder that exists"),
    (["run", "m.pto:matmul"], 2, "no kernels to name"), (["run", "kernels.py:nonsense"], 2, "runs as a whole"),
    (["run", "kernels.py", "--cores", "2"], 2, "-- --cores"),
    (["compile", "m.pto", "-o", "x.pto"], 2, "no Python file of kernels"), (["graph", "m.pto"], 2, "no Python file"),
    (["disasm", "kernels.py:matmul", "--arg", "C=f32[N]"], 2, "no argument C"),
    (["disasm", "kernels.py:matmul", "--arg", "A=f32[N]", "--arg", "A=f32[M]"], 2, "given twice"),
    (["verify", "kernels.py:matmul", "--param", "Z=3"], 2, "--param Z is no extent"),
    (["verify", "kernels.py:matmul", "--param", "M=0"], 2, "at least 1"),
    (["run", "m.pto", "--arg", "A=a.npy", "--arg", "B=a.npy"], 4, "wants"),
    (["run", "m.pto", "--arg", "A=array.npy"], 3, "not a .npy"),
    (["run", "m.pto", "--arg", "A=missing.npy"], 3, "missing.npy"),
    (["run", "m.pto", "--arg", "A=a.npy", "--arg", "B=b.npy", "--out", "C=c.npy"], 2, "does not write C"),
    (["run", "m.pto", "--arg", "A=a.npy", "--arg", "B=b.npy", "--cores", "0"], 2, "at least one core"),
    (["run", "m.pto", "--arg", "A=a.npy", "--arg", "B=b.npy", "--fuel", "1"], 8, "fuel"),
    (["disasm", "text.pto"], 3, "text.pto"), (["run", "text.pto"], 3, "text.pto"), (["check", "empty.pto"], 3, "empty"),
    (["asm", "wrong.ptoas", "-o", "w.pto"], 3, "V9"), (["asm", "text.pto", "-o", "w.pto"], 3, ""),
    (["run", "m.pto", "--arg", "A=several.npz"], 3, "several arrays"),
    (["check", "zeros.ptoas"], 3, "neither a program file (.pto) nor text"),
    (["run", "--dump", "a.npy", "kernels.py"], 2, "a.npy is no folder"),
    (["run", "--check", "nothing", "kernels.py"], 2, "there is no check 'nothing'"),
    (["run", "name.py"], 4, "name 'tile_n' is not defined"), (["run", "name.py"], 4, "did you mean tile_m?"),
    (["run", "syntax.py"], 1, "SyntaxError"),
    (["verify", "kernels.py:plain"], 4, '--arg "x=f32[M,N]"'),
    (["run", "shape.py"], 4, "inner extents differ: 3 x 4 times 5 x 6"),
    (["compile", "large.py", "-o", "l.pto"], 4, "do not fit l1"),
    (["compile", "kernels.py:matmul", "-o", "missing/m.pto"], 2, "missing"),
    (["compile", "kernels.py:matmul"], 2, "write the program with -o"),
])
def test_mistakes_end_in_one_message_and_a_documented_code(folder, words, code, expected):
    done = run(folder, *words)
    output = done.stdout + done.stderr
    assert "Traceback" not in output
    assert expected in output
    assert done.returncode == code, output


@pytest.mark.parametrize("command", ["run", "graph"])
@pytest.mark.parametrize(("text", "expected"), [
    ("def f(:\n", "SyntaxError"), ("def f():\n    return 1 / 0\nf()\n", "ZeroDivisionError"),
    ("import no_such_module\n", "ModuleNotFoundError"), ("'a' + 1\n", "TypeError")])
def test_what_a_script_raises_is_shown_without_frames_of_ours(folder, command, text, expected):
    (folder / "raises.py").write_text(text)
    done = run(folder, command, "raises.py")
    assert done.returncode == 1
    assert expected in done.stderr and 'File "raises.py", line' in done.stderr
    assert "runpy" not in done.stderr and "click" not in done.stderr and "pto/cli" not in done.stderr


def test_a_script_ends_and_gets_options_as_it_says(folder):
    (folder / "ends.py").write_text("import sys\nprint(sys.argv[1:])\nsys.exit(5)\n")
    done = run(folder, "run", "ends.py", "--seed", "3", "--", "--cores", "2")
    assert (done.returncode, done.stdout) == (5, "['--seed', '3', '--cores', '2']\n")


def test_a_result_goes_to_the_named_file_whatever_its_name(folder):
    done = run(folder, "run", "m.pto", "--arg", "A=a.npy", "--arg", "B=b.npy", "--out", "result2=c.bin")
    assert done.returncode == 0, done.stderr
    assert np.load(folder / "c.bin").shape == (3, 5)


def test_a_trap_names_the_line(folder):
    (folder / "trap.py").write_text(
        "import numpy as np\nimport pto as pt\n@pt.tile_kernel\ndef k(x, out):\n"
        "    out[64:80, 0:16] = x[64:80, 0:16]\nx = np.ones((8, 16), np.float32)\nk(x, x.copy())\n")
    done = run(folder, "run", "trap.py")
    assert done.returncode == 6
    assert "trap.py:5:" in done.stderr
    assert "^^^" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", ["disasm m.pto", "graph kernels.py:matmul --level all", "isa", "--help",
                                   "run many.py", "run kernels.py"])
def test_a_closed_pipe_is_no_error(folder, words):
    (folder / "many.py").write_text("for i in range(100000): print(i)\n")
    done = run(folder, shell=f"{words} | head -n 1")
    assert done.stderr == ""
    assert done.returncode in (0, 141)


LOADED = """import sys
sys.argv = ["pto", *{words!r}]
from pto.cli.main import main
try: main()
except SystemExit: pass
print(sorted({{m.split(".")[0] for m in sys.modules}} & {{"numpy", "numba", "networkx", "lark", "llvmlite"}}))
"""


@pytest.mark.parametrize(("words", "allowed"), [
    (["--help"], "[]"), (["--version"], "[]"), (["disasm", "m.pto"], "[]"), (["isa", "tadd"], "[]"),
    (["check", "m.pto"], "[]"), (["nonsense"], "[]"),
])
def test_commands_import_what_they_need(folder, words, allowed):
    done = subprocess.run([sys.executable, "-c", LOADED.format(words=words)], cwd=folder, text=True, timeout=60,
                          capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.stdout.splitlines()[-1] == allowed


def test_graphs_are_shown_without_the_machine(folder):
    code = LOADED.format(words=["graph", "kernels.py:matmul"])
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, text=True, timeout=60, capture_output=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert "tile matmul(" in done.stdout
    assert done.stdout.splitlines()[-1] == "['networkx', 'numpy']"


RACY = """\
.program racy
.target V2
.tensor %y f32[1, 16] write
.tile %t tile<ub, 1x16xf32> at 0x0 slots 1
  texpands %t, 1.0, 1, 16
  tstore %y, %t, 0, 0, 1, 16
  halt
"""


@pytest.mark.parametrize(("options", "code", "words"), [
    ((), 0, "1 scalar"), (("--check=races",), 6, "no flag orders V -> MTE3"),
    (("--check=uninitialised",), 0, "1 scalar"),
    (("--check=rases",), 2, "there are races, uninitialised, all"),
])
def test_checks_of_a_run(folder, options, code, words):
    (folder / "racy.ptoas").write_text(RACY)
    done = run(folder, "run", "racy.ptoas", *options)
    assert done.returncode == code and words in done.stderr


def test_every_dumped_level_runs_and_gives_the_same_result(folder):
    assert run(folder, "run", "--dump", "levels", "kernels.py").returncode == 0
    files = sorted((folder / "levels").glob("matmul.*"))
    assert len({f.name.split(".")[1] for f in files}) == len(files) > 6
    assert [f.suffix for f in files] == [".graph"] * (len(files) - 1) + [".ptoas"]
    for file in files:
        done = run(folder, "run", str(file), "--arg", "A=a.npy", "--arg", "B=b.npy")
        assert done.returncode == 0, f"{file}: {done.stderr}"
        assert "[[8. 8." in done.stdout, file


def test_a_dumped_level_that_was_edited_is_another_program(folder):
    assert run(folder, "run", "--dump", "edited", "kernels.py").returncode == 0
    [file] = (folder / "edited").glob("matmul.*-tensor-to-tile-tile.graph")
    text = file.read_text()
    assert "256" in text
    file.write_text(text.replace("256", "32"))
    done = run(folder, "run", str(file), "--arg", "A=a.npy", "--arg", "B=b.npy")
    assert "[[8. 8." in done.stdout, done.stderr
    assert "32x32xf32" in run(folder, "disasm", str(file)).stdout


def test_what_a_script_raises_is_shown_from_its_own_line_on(folder):
    done = run(folder, "run", "imports.py")
    assert done.returncode == 1
    assert done.stderr.splitlines()[:2] == ["Traceback (most recent call last):",
                                            '  File "imports.py", line 1, in <module>']
    assert "No module named 'nosuch'" in done.stderr


def test_a_terminal_is_told_of_what_compiles_for_seconds_once(folder, tmp_path):
    (tmp_path / "halt.ptoas").write_text(".program nothing\n.target AI_Accelerator_V2\n  halt\n")
    assert "compiling" in on_a_terminal(tmp_path, "run", "halt.ptoas")
    assert "compiling" not in on_a_terminal(tmp_path, "run", "halt.ptoas")


def on_a_terminal(folder: Path, *words: str) -> str:
    """What a command writes to its standard error where that is a terminal; results are kept in the folder."""
    screen, side = os.openpty()
    with os.fdopen(screen, "rb", buffering=0) as shown:
        subprocess.run([sys.executable, "-m", "pto", *words], cwd=folder, stderr=side, check=True,
                       env=ENVIRON | {"PTO_CACHE_DIR": str(folder)}, stdout=subprocess.DEVNULL)
        os.close(side)
        return shown.read(1000).decode()
