"""The legal element types of each family of instructions, as the design of the instruction set lists them.

`product` has a table of its own: the left, the right and the accumulated type. A test compares all of it with the rows.
"""

from __future__ import annotations

FLOATING, INTEGER = ("f32", "f16", "bf16"), ("s32", "s16", "s8", "u8")
ARITHMETIC = (*FLOATING, *INTEGER)
REDUCED = (*FLOATING, "s32")
EVERY = (*ARITHMETIC, "pred")

TYPES = {
    "arithmetic": ARITHMETIC, "bits": (*INTEGER, "pred"), "integers": INTEGER, "transcendental": FLOATING,
    "comparison": ARITHMETIC, "conversion": ARITHMETIC, "reduction": REDUCED, "choice": REDUCED, "movement": EVERY,
    "extreme": ARITHMETIC,
    "gather": EVERY, "scatter": EVERY, "report": EVERY, "bytes": ("s32",), "predicates": ("pred",),
}
FAMILIES = {
    "arithmetic": "tadd tsub tmul tmax tmin trelu tneg tabs tadds tsubs trsubs tmuls tmaxs tmins tclamps trowexpandadd "
                  "trowexpandsub trowexpandmul trowexpandmax trowexpandmin tcolexpandadd tcolexpandsub tcolexpandmul "
                  "tcolexpandmax tcolexpandmin",
    "bits": "tand tor txor tnot",
    "integers": "tshl tshr tshls tshrs tands tors txors",
    "transcendental": "tdiv tdivs trdivs trowexpanddiv tcolexpanddiv tfma texp tlog tsqrt trsqrt trecip ttanh "
                      "tsigmoid tsilu tgelu terf tsin tcos tfloor tceil tround ttrunc trowexpandexpdif",
    "comparison": "tcmp tcmps",
    "conversion": "tcvt",
    "conversion at random": "tcvt_sr",
    "reduction": "trowprod trowdot tcolprod ttopk",
    "extreme": "trowmax trowmin tcolmax tcolmin",
    "choice": "trowargmax trowargmin ttopk_index",
    "movement": "tload tstore tmov tinsert textract textract_t textract_rows ttrans texpands trowexpand tcolexpand "
                "tsel tsels tgetval ldg",
    "bytes": "tdot4",
    "predicates": "trowany trowall tcolany tcolall",
    "gather": "mgather mgather_elem tgather",
    "scatter": "mscatter tscatter",
    "report": "mlog mlog_unless",
}
OTHERS = {
    "tci": {("s32",), ("f32",)},
    "mscatter_add": {("f32", "f32", "s32"), ("s32", "s32", "s32")},
    "tmatmul": {("f32", "f32", "f32"), ("f32", "f16", "f16"), ("f32", "bf16", "bf16"), ("s32", "s8", "s8"),
                ("s32", "s16", "s8")},
}
OTHERS |= {name: {*((kind, kind) for kind in REDUCED), ("s32", "pred")} for name in ("trowsum", "tcolsum")}
STREAMED = {*OTHERS["tmatmul"], ("f32", "f32", "f16"), ("f32", "f32", "bf16"), ("f32", "f32", "s8")}
OTHERS |= {"tgemv_stream": STREAMED, "tgemv_stream_acc": STREAMED, "tgemm_stream": STREAMED,
           "tgevm_stream": STREAMED, "tgemm_stream_rows": STREAMED}
RESULTS = {"q8": "f32", "q4": "f32", "t3": "f32", "t2": "s32"}  # of packed weights, which are bytes
OTHERS |= {f"tgemv_{name}": {(to, "s16", "u8"), (to, "s8", "u8")} for name, to in RESULTS.items()}
OTHERS |= {f"tunpack_{name}": {(to, "u8")} for name, to in RESULTS.items()}


def legal(mnemonic: str, memory: tuple[str, ...]) -> set[tuple[str, ...]]:
    """The legal types of the memory operands with these names, in their order."""
    if mnemonic in OTHERS:
        return OTHERS[mnemonic]
    family = next(name for name, words in FAMILIES.items() if mnemonic in words.split())
    if family == "conversion":
        return {(to, source) for to in ARITHMETIC for source in ARITHMETIC if to != source}
    if family == "conversion at random":
        return {(to, source, "s32") for to in ARITHMETIC for source in ARITHMETIC
                if to != source and (to in FLOATING or source in FLOATING)}
    fixed = {"mask": "pred", "index": "s32", "log": "s32"}
    fixed |= {"dst": "pred"} if family == "comparison" else {"dst": "s32"} if family == "choice" else {}
    return {tuple(fixed.get(operand, name) for operand in memory) for name in TYPES[family]}
