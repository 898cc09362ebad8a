"""Layers to be trained ternary, in PyTorch: what they compute is what the machine computes of the weights they export.

Importing it needs PyTorch, which the rest of pto does not. Weights are kept in float32 while they are trained, and
rounded for each product to -1, 0 and 1 times a scale for each row (BitNet b1.58; Ma et al., 2024); activations are
rounded to 8 bits, with a scale for each token. Gradients pass both roundings as if there were none (the
straight-through estimator; Bengio et al., 2013).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pto.core.errors import MissingPackageError, UsageError, require_known
from pto.core.packed import COLS
from pto.quant.forms import SMALLEST, T2_FORM, Packed, pack
from pto.quant.schemes import A8, find
from pto.quant.tensor import Quantised, quantise
from pto.quant.ternary import THRESHOLD

try:
    import torch
    from torch import Tensor, nn
    from torch.nn.functional import linear
except ModuleNotFoundError:
    raise MissingPackageError("pto.precision.training needs PyTorch, which is not installed",
                              hint="pip install 'pto[torch]'") from None

TINY = torch.finfo(torch.float32).tiny  # instead of a scale of 0: what it divides is 0


class _StraightThrough(torch.autograd.Function):
    """A rounding that gradients do not see."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, rounded: Callable[[Tensor], Tensor]) -> Tensor:
        return rounded(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def absmean(weight: Tensor) -> Tensor:
    """Rounded multiples of a row's mean magnitude, cut at -1 and 1, times it: `pto.quant.ternary.absmean`."""
    scale = weight.abs().mean(-1, keepdim=True)
    return (weight / scale.clamp_min(TINY)).round().clamp(-1, 1) * scale


def mean(weight: Tensor) -> Tensor:
    """What is above 0.7 times a row's mean magnitude becomes the mean of that: `pto.quant.ternary.mean`."""
    size = weight.abs()
    counts = size > float(THRESHOLD) * size.mean(-1, keepdim=True)
    scale = (size * counts).sum(-1, keepdim=True) / counts.sum(-1, keepdim=True).clamp_min(1)
    return weight.sign() * counts * scale


RULES = {"absmean": absmean, "mean": mean}


def eight_bits(x: Tensor) -> Tensor:
    """Each token [..., channels] as multiples of 1/127 of its largest magnitude: `pto.quant.forms.rounded`."""
    scale = (x.abs().amax(-1, keepdim=True) * (1 / A8.high)).clamp_min(SMALLEST)
    return (x * (1 / scale)).round() * scale


def ternary_linear(x: Tensor, weight: Tensor, rule: str = "absmean") -> Tensor:
    """x [..., in] in 8 bits times the transpose of ternary weights [out, in]; gradients are those of a plain product.

    Args:
        rule: which weights become -1, 0 and 1, of `RULES`.
    """
    found: Tensor = linear(_StraightThrough.apply(x, eight_bits), _StraightThrough.apply(weight, RULES[rule]))
    return found


class TernaryLinear(nn.Linear):
    """A linear layer that is trained to work with weights of -1, 0 and 1.

    Args:
        in_features, out_features: channels; those that come in are a multiple of 32.
        bias: add one, in float32.
        rule: which weights become -1, 0 and 1: "absmean" or "mean".

    Raises:
        UsageError: there is no such rule, or channels that come in are no multiple of 32, in which weights are packed.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = False, *, rule: str = "absmean") -> None:
        require_known(RULES, rule, "ternary rule")
        if in_features % COLS:
            raise UsageError(f"ternary weights are packed in groups of {COLS} channels, and {in_features} come in")
        super().__init__(in_features, out_features, bias)
        self.rule = rule

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in] to [..., out]."""
        y = ternary_linear(x, self.weight, self.rule)
        return y if self.bias is None else y + self.bias

    def quantised(self) -> Quantised:
        """The ternary weights [out, in] as they stand."""
        latent: NDArray[np.float32] = self.weight.detach().cpu().float().numpy()
        return quantise(latent, find(f"ternary_{self.rule}_channel"))

    def packed(self) -> Packed:
        """The same as a kernel takes them; without the bias."""
        return pack(self.quantised(), A8.name, T2_FORM.name)

    def rounded(self) -> nn.Linear:
        """A plain layer of the ternary weights, to be saved: read in the precision ``ternary`` they are these again."""
        found = nn.Linear(self.in_features, self.out_features, self.bias is not None)
        state = {**self.state_dict(), "weight": torch.from_numpy(self.quantised().dequantise())}
        found.load_state_dict(state)
        return found
