"""Precisions of a model as rows: what its weights are kept in, and what they are multiplied with."""

from __future__ import annotations

from dataclasses import dataclass

from pto.core.dtypes import BF16, F16, F32, DType
from pto.core.errors import require_known
from pto.models.tensors import Kind


@dataclass(frozen=True, slots=True)
class Precision:
    """One precision.

    Attributes:
        name: the option.
        embed: element type of the embedding, of which a token reads one row.
        plain: element type of all other weights that are not quantised.
        layers, head: schemes of the matrices of layers and of the head (`pto.quant.schemes`); "": `plain`.
        activation: what these are multiplied with (`pto.quant.forms`).
        form: in which form the matrices of layers are packed; "": the first that can keep them.
        kept: schemes of blocks that matrices of layers stay in where the file has them; they have the form of `layers`.
        fine: kinds whose activations have 14 bits all the same, for there fewer cost the most.
        doc: one sentence.
    """

    name: str
    embed: DType
    plain: DType
    layers: str = ""
    head: str = ""
    activation: str = ""
    form: str = ""
    kept: tuple[str, ...] = ()
    fine: tuple[str, ...] = ()
    doc: str = ""

    def scheme(self, kind: Kind) -> str:
        """The scheme of a kind of weights; "": they are plain."""
        if kind.is_norm or kind.name == "embed":
            return ""
        return self.head if kind.name == "head" else self.layers

    def schemes(self, kind: Kind) -> tuple[str, ...]:
        """The schemes that a kind of quantised weights may be in: what it becomes, and what else it can stay in."""
        return (self.scheme(kind), *(self.kept if kind.per_layer else ()))

    def activation_of(self, kind: Kind) -> str:
        """What a kind of quantised weights is multiplied with."""
        return "a14" if kind.name in self.fine else self.activation

    @property
    def itemsize(self) -> int:
        """Bytes of most of the weights, of one of them."""
        return 1 if self.layers else self.plain.size

    def dtype(self, kind: Kind) -> DType:
        """The element type of a kind of plain weights."""
        return self.embed if kind.name == "embed" else self.plain


ROWS = "int8_channel"
PRECISIONS = (
    Precision("f32", F32, F32, doc="weights in float32"),
    Precision("f16", F16, F16, doc="weights rounded to float16"),
    Precision("bf16", BF16, BF16, doc="weights rounded to bfloat16"),
    Precision("w8a16", F16, F32, ROWS, ROWS, "a16", doc="8-bit weights, a scale for each channel"),
    Precision("w8a14", F16, F32, ROWS, ROWS, "a14", doc="the same, activations of products in 14 bits"),
    Precision("w8a8", F16, F32, ROWS, ROWS, "a8", doc="the same, activations of products in 8 bits"),
    Precision("w4a14", F16, F32, "q4_1", "q8_0", "a14", kept=("q4_0",),
              doc="4-bit weights as the file has them, the head in 8 bits; activations of products in 14 bits"),
    Precision("ternary3", F16, F32, "q4_1", "q8_0", "a14", "t3", ("q4_0",),
              doc="the same 4-bit weights as three planes of ternary digits, which hold them exactly"),
    Precision("ternary", F16, F32, "ternary_optimal_channel", ROWS, "a8", fine=("head",),
              doc="one plane of ternary digits, a scale for each channel, for models that were trained so; the head in "
              "8 bits; activations of products in 8 bits, in 14 before the head"),
)
BY_NAME = {row.name: row for row in PRECISIONS}
EXACT = BY_NAME["f32"]


AUTO = "auto"
FAST = BY_NAME["w4a14"], BY_NAME["w8a14"]  # within 1 % of float32's perplexity, the fastest first


def find(name: str) -> Precision | None:
    """The precision with a name; None for `AUTO`, which the file decides.

    Raises:
        UsageError: there is none.
    """
    require_known((AUTO, *BY_NAME), name, "precision")
    return BY_NAME.get(name)
