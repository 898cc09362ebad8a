"""`pto generate`, `pto chat` and `pto model export`, as processes, on the model that ships."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pto.core.cache import default_directory
from pto.models.catalog import find
from pto.models.llama.generate import encode, generate, stream
from pto.models.llama.model import Llama
from pto.models.sampling import Sampling

ROOT = Path(__file__).parents[2]
PROMPT = "The old man took the small boat, and the "


@pytest.fixture(scope="module")
def tiny() -> Llama:
    return Llama.load(find("tiny"), context=96)


def hears_interrupts() -> None:
    """A test run in the background of a shell, and all that it starts, ignore them."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def start(*words: str, unfetched: Path | None = None) -> subprocess.Popen[str]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    if unfetched is not None:  # a cache without the fetched model, but with what was compiled
        (unfetched / "pto").mkdir(parents=True, exist_ok=True)
        kept = default_directory("models").parent
        kept.mkdir(parents=True, exist_ok=True)
        for entry in kept.iterdir():
            if entry.name != "models":
                (unfetched / "pto" / entry.name).symlink_to(entry)
        environ["PTO_CACHE_DIR"] = str(unfetched)
    return subprocess.Popen([sys.executable, "-W", "error", "-m", "pto", *words], text=True, env=environ,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            preexec_fn=hears_interrupts)


def run(*words: str, text: str = "", unfetched: Path | None = None) -> subprocess.CompletedProcess[str]:
    process = start(*words, unfetched=unfetched)
    out, err = process.communicate(text, timeout=120)
    assert "Traceback" not in err
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def test_the_text_is_that_of_the_library(tiny):
    done = run("generate", "tiny", PROMPT, "--limit", "20", "--context", "96")
    assert done.returncode == 0
    assert done.stdout == f"{generate(tiny, PROMPT, limit=20)}\n"
    assert "tokens/s" in done.stderr


def test_options_reach_the_sampler(tiny):
    options = ("--temperature", "0.9", "--top-k", "40", "--top-p", "0.9", "--repetition-penalty", "1.3", "--seed", "5")
    done = run("generate", "tiny", PROMPT, "-n", "20", "--context", "96", *options, "--threads", "2")
    assert done.stdout == f"{generate(tiny, PROMPT, limit=20, sampling=Sampling(0.9, 40, 0.9, 1.3, 5))}\n"
    assert "seed 5" in done.stderr


def test_prompts_of_any_length_one_document(tiny):
    done = run("generate", "tiny", PROMPT, "--prompts", "-", "-n", "9", "--json", text="A dog \n\nOnce upon a time\n")
    found = json.loads(done.stdout)
    assert [t["prompt"] for t in found["texts"]] == [PROMPT, "A dog ", "Once upon a time"]
    for row in found["texts"]:
        assert row["text"] == generate(tiny, row["prompt"], limit=9)
        assert (row["tokens"], row["finish"]) == (9, "limit") or row["finish"] == "stop"
        assert row["prompt_tokens"] == len(encode(tiny, row["prompt"]))
    assert (found["schema"], found["model"], found["context"]) == (1, "tiny", 512)


def test_the_model_that_ships_stands_in_and_the_output_says_so(tmp_path, tiny):
    done = run("generate", PROMPT, "-n", "5", unfetched=tmp_path / "cache")
    assert done.stdout == f"{generate(tiny, PROMPT, limit=5)}\n"
    assert "tiny" in done.stderr
    assert "pto model pull smollm2-135m" in done.stderr


def test_a_full_context_ends_a_text_and_too_long_a_prompt_is_refused(tiny):
    done = run("generate", "tiny", PROMPT, "--context", "48", "--json")
    [row] = json.loads(done.stdout)["texts"]
    assert row["finish"] == "context"
    assert row["tokens"] == 48 - len(encode(tiny, PROMPT)) + 1
    done = run("generate", "tiny", PROMPT, PROMPT * 3, "--context", "64")
    assert (done.returncode, done.stdout) == (2, "")
    assert "the context is 64 tokens" in done.stderr


@pytest.mark.parametrize(("words", "message"), [
    (["generate"], "there is no prompt"), (["generate", "tiny"], "tiny is a model, and there is no prompt"),
    (["generate", "nosuch", "A dog"], "there is no model nosuch"),
    (["generate", "tiny", "A", "--temperature", "-1"], "temperature is a number from 0 up"),
    (["generate", "tiny", "A", "--context", "100000"], "a context has 1 to 512 positions"),
    (["chat", "nosuch"], "there is no model nosuch"), (["chat", "tiny", "--limit", "0"], "--limit"),
])
def test_mistakes_end_in_one_message(words, message):
    done = run(*words)
    assert done.returncode == 2
    assert message in done.stderr


def test_a_model_that_only_continues_is_not_talked_to():
    done = run("chat", "tiny", text="hello\n")
    assert done.returncode == 3
    assert "chat template" in done.stderr and "pto model pull" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_an_interrupt_keeps_what_was_made():
    process = start("generate", "tiny", *["Once upon a time"] * 400)
    assert process.stdout is not None
    shown = "".join(process.stdout.readline() for _ in range(4))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert shown.count("==> Once upon a time <==") == 2
    assert (shown + out).count("==>") < 400
    assert "Traceback" not in err
    assert err.rstrip().endswith("interrupted")


STEPS = """
import sys
from pathlib import Path
import numpy as np
from pto.isa.file import load
from pto.runtime.launch import run_program
folder, ids, count = Path(sys.argv[1]), [int(i) for i in sys.argv[2].split(",")], int(sys.argv[3])
program = load(folder / "decode.pto")
arrays = {t.name: np.load(folder / f"{t.name}.npy") for t in program.tensors if t.read and not t.scratch}
made = []
for length in range(1, len(ids) + count):
    token = ids[length - 1] if length <= len(ids) else made[-1]
    results, _ = run_program(program, arrays, {"token": token, "length": length})
    arrays |= {name: results.pop(name) for name in ("keys", "values")}
    [logits] = results.values()
    if length >= len(ids):
        made.append(int(logits.argmax()))
assert not any(name.startswith(("pto.models", "pto.passes", "pto.lang")) for name in sys.modules)
print(*made)
"""


def test_the_exported_step_makes_the_same_tokens_without_the_model(tiny, tmp_path):
    folder = tmp_path / "step"
    assert run("model", "export", "tiny", str(folder), "--context", "96").stdout == f"{folder}\n"
    ids = encode(tiny, PROMPT)
    done = subprocess.run([sys.executable, "-c", STEPS, str(folder), ",".join(map(str, ids)), "12"], text=True,
                          capture_output=True, timeout=120, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    assert [int(i) for i in done.stdout.split()] == [p.id for p in stream(tiny.session(), ids, limit=12)]
    done = run("model", "export", "tiny", str(folder))
    assert done.returncode == 2
    assert "is there already" in done.stderr


def test_the_compiled_step_runs_on_the_command_line(tiny, tmp_path):
    """`pto compile` of the example gives the program; `pto run` takes the arrays of a folder, and leaves the cache."""
    folder, program = tmp_path / "step", tmp_path / "step.pto"
    example = str(ROOT / "examples" / "llama_decode.py")
    assert run("model", "export", "tiny", str(folder), "--context", "512").returncode == 0
    done = run("compile", f"{example}:decode", "-o", str(program), unfetched=tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    session = Llama.load(find("tiny"), context=512, precision="f32").session()
    kept = [f"--out={name}={folder / name}.npy" for name in ("keys", "values")]
    for length, token in enumerate(encode(tiny, "A d"), 1):
        done = run("run", str(program), "--arrays", str(folder), "--param", f"token={token}", "--param",
                   f"length={length}", f"--out=logits={tmp_path / 'logits.npy'}", *kept)
        assert done.returncode == 0, done.stderr
        assert np.array_equal(np.load(tmp_path / "logits.npy")[0], session.feed([token]))
