"""A Llama whose matrices are three planes of -1, 0 and 1: the same numbers as the 4-bit weights that they hold."""

import numpy as np

from pto.models.catalog import find
from pto.models.llama.generate import encode, generate
from pto.models.llama.model import Llama

PROMPT = "The old man "


def main() -> None:
    four, ternary = (Llama.load(find("tiny"), context=96, precision=name) for name in ("w4a14", "ternary3"))
    ids = encode(ternary, PROMPT)
    same = np.array_equal(four.session().feed(ids[:1]), ternary.session().feed(ids[:1]))
    print("planes give the same bits as the 4-bit weights:", same)
    print(PROMPT + str(generate(ternary, PROMPT, limit=24)))


if __name__ == "__main__":
    main()
