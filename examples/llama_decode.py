"""A real Llama, written as a tile kernel, generates text on the machine.

The decoder is pto/models/llama/decoder.py. Run it with `pto run examples/llama_decode.py`, or with words of your own:
`pto run examples/llama_decode.py "What is a compiler?"`. It takes the model that `pto model pull smollm2-135m` fetched;
without that, the small one that ships. Behind the words, `--precision f16` and `--kv f16` halve weights, and keys and
values. `pto disasm examples/llama_decode.py:decode` shows the program of a token.
"""

import argparse
import time
from dataclasses import replace

import pto as pt
from pto.models.catalog import best
from pto.models.chat import Message
from pto.models.checkpoint import open_checkpoint
from pto.models.llama.decoder import decode_kernel
from pto.models.llama.generate import conversation, encode, stream
from pto.models.llama.model import Llama

CONTEXT, LIMIT = 512, 64
MODEL = best()
CONFIG = open_checkpoint(MODEL.path).config
decode = decode_kernel(CONFIG, CONTEXT)


def tokens(model, text):
    """A question for a model that answers; else a text to go on with."""
    return conversation(model, [Message("user", text)]) if model.chat else encode(model, text)


def options():
    parser = argparse.ArgumentParser(description="Generate text on the machine.")
    parser.add_argument("text", nargs="?", help="a question, or the beginning of a text")
    parser.add_argument("--precision", default="auto", help="what weights are kept in: f32, f16, w8a14, ...")
    parser.add_argument("--kv", default="f32", help="what keys and values are kept in: f32, f16, s8")
    return parser.parse_args()


def main():
    given = options()
    print(f"{MODEL.name}: {MODEL.title}")
    if not MODEL.package:
        print("(the model that ships with pto; `pto model pull smollm2-135m` fetches a real one)")
    start = time.perf_counter()
    model = Llama.load(MODEL.path, context=CONTEXT, precision=given.precision, kv=given.kv)
    text = given.text or ("What is gravity?" if model.chat else "Once upon a time")
    print(f"\n> {text}\n")
    times = []
    for piece in stream(model.session(), tokens(model, text), limit=LIMIT):
        times.append(time.perf_counter())
        print(piece.text, end="", flush=True)
    known = times[1:]  # the first tokens of a machine wait until it is compiled
    if len(known) > 1:
        print(f"\n\nthe first token after {times[0] - start:.2f} s, the second after {known[0] - start:.2f} s, loading "
              f"and what is compiled once included; then {(len(known) - 1) / (known[-1] - known[0]):.1f} tokens/s on "
              f"{pt.get_num_threads()} thread")


def facts():
    """What ran for each token: one launch of one program, whose loop over layers is a loop of the machine."""
    program = decode.program()
    short = decode_kernel(replace(CONFIG, layers=2), CONTEXT).program()
    print(f"\nthe program of a token has {len(program.code)} instructions for {CONFIG.layers} layers, "
          f"{len(short.code)} for 2; its products with matrices, and their Python lines:")
    for number, (instruction, spans) in enumerate(zip(program.code, program.lines, strict=True)):
        name = instruction.spec.mnemonic
        if "_stream" in name:
            print(f"{number:5} {name}  {program.spans[spans[0]].text.strip()}")


if __name__ == "__main__":
    main()
    facts()
