"""Llamas whose matrices are -1, 0 and 1: three planes that hold 4-bit weights exactly, and one that was trained so.

The model in planes gives the bits of the one in 4 bits. Its twin, trained with one plane, is as good as the model in
float32 is, and its products are additions and subtractions.
"""

import numpy as np

from pto.models.catalog import find
from pto.models.llama.compare import compare, perplexity
from pto.models.llama.generate import encode, generate
from pto.models.llama.model import Llama

STORY = ("One evening, Felix ran to the old lighthouse. There he met a shy otter. The otter was carrying a silver "
         "bell. Felix thanked the otter and left the lighthouse.")


def load(model: str, precision: str) -> Llama:
    return Llama.load(find(model), context=256, precision=precision)


def main() -> None:
    exact, four, planes = (load("tiny", name) for name in ("f32", "w4a14", "ternary3"))
    ids = encode(exact, STORY)
    same = np.array_equal(four.session().feed(ids), planes.session().feed(ids))
    print("three planes give the same bits as the 4-bit weights:", same)
    print(f"4-bit weights against float32: {compare(exact, planes, ids).rows[-1].sqnr:.1f} dB at the logits")

    twin, untrained = load("tiny-ternary", "ternary"), load("tiny", "ternary")
    for name, model in (("float32", exact), ("trained ternary", twin), ("rounded to ternary", untrained)):
        size = sum(weights.nbytes for weights in model.weights.values() if len(weights.shape) == 3)
        print(f"perplexity {perplexity(model, ids):.3f}, {size:9,} bytes in layers: {name}")
    print("Once upon a time" + str(generate(twin, "Once upon a time", limit=80)))


if __name__ == "__main__":
    main()
