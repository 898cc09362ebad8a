"""Layers that are trained ternary: their products and gradients against NumPy, and the weights that they export."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pto import precision as pp
from pto.core.errors import UsageError
from pto.models.llama.precision import BY_NAME
from pto.quant.forms import rounded
from pto.quant.schemes import A8, find
from pto.quant.tensor import quantise

ROOT = Path(__file__).parents[2]
RULES = ("absmean", "mean")


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.fixture
def training(torch):
    return pytest.importorskip("pto.precision.training")


def weights(rows=24, columns=64):
    found = np.random.default_rng(3).standard_normal((rows, columns)).astype(np.float32)
    found[0], found[1, 1:] = 0, 0
    return found


def tokens(count=5, columns=64):
    x = np.random.default_rng(4).standard_normal((count, columns)).astype(np.float32)
    x[0] = 0
    return x


def in_eight_bits(x):
    codes, scale = rounded(x, A8, A8.high)
    return (codes * scale).astype(np.float32)


def test_without_torch_it_says_what_to_install():
    code = ("import sys; sys.modules['torch'] = None\nfrom pto.core.errors import PtoError\n"
            "try: import pto.precision.training\nexcept PtoError as err: print(err)")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, timeout=60)
    assert done.stdout == ("error[PTO-E0403]: pto.precision.training needs PyTorch, which is not installed\n"
                           "help: pip install 'pto[torch]'\n"), done.stderr


@pytest.mark.parametrize("rule", RULES)
def test_weights_are_rounded_as_they_are_exported(torch, training, rule):
    w = weights()
    found = training.RULES[rule](torch.from_numpy(w)).numpy()
    np.testing.assert_allclose(found, quantise(w, find(f"ternary_{rule}_channel")).dequantise(), rtol=1e-6)


def test_activations_are_rounded_as_the_machine_rounds_them(torch, training):
    np.testing.assert_array_equal(training.eight_bits(torch.from_numpy(tokens())).numpy(), in_eight_bits(tokens()))


@pytest.mark.parametrize("rule", RULES)
def test_gradients_pass_the_roundings(torch, training, rule):
    """y = q(x) q(W)': dL/dx = g q(W) and dL/dW = g' q(x), as if x and W were what they are rounded to."""
    w, x, g = weights(), tokens(), np.random.default_rng(5).standard_normal((5, 24)).astype(np.float32)
    tensors = [torch.from_numpy(array).requires_grad_() for array in (x, w)]
    y = training.ternary_linear(*tensors, rule)
    y.backward(torch.from_numpy(g))
    near, ternary = in_eight_bits(x), quantise(w, find(f"ternary_{rule}_channel")).dequantise()
    expected = near @ ternary.T, g @ ternary, g.T @ near
    for found, wanted in zip((y.detach(), tensors[0].grad, tensors[1].grad), expected, strict=True):
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rule", RULES)
def test_a_layer_gives_what_the_machine_gives(torch, training, rule):
    layer = training.TernaryLinear(64, 24, bias=True, rule=rule)
    x = tokens()
    ours = pp.ternary_gemm(x, layer.packed()) + layer.bias.detach().numpy()
    np.testing.assert_allclose(ours, layer(torch.from_numpy(x)).detach().numpy(), rtol=1e-5, atol=1e-5)
    assert set(np.unique(layer.quantised().codes)) == {-1, 0, 1}


@pytest.mark.parametrize("rule", RULES)
def test_what_is_saved_reads_as_the_same_ternary_weights(training, rule):
    layer = training.TernaryLinear(96, 16, bias=True, rule=rule)
    saved, made = layer.rounded(), layer.quantised()
    found = quantise(saved.weight.detach().numpy(), find(BY_NAME["ternary"].layers))
    np.testing.assert_array_equal(found.codes, made.codes)
    np.testing.assert_array_equal(found.dequantise(), made.dequantise())
    np.testing.assert_array_equal(saved.bias.detach(), layer.bias.detach())


def test_a_layer_learns(torch, training):
    """A ternary matrix is found again from what it makes of random activations."""
    torch.manual_seed(0)
    wanted = torch.randint(-1, 2, (8, 32)).float()
    layer = training.TernaryLinear(32, 8)
    optimiser = torch.optim.Adam(layer.parameters(), 0.02)
    for _ in range(300):
        x = torch.randn(64, 32)
        loss = (layer(x) - x @ wanted.T).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    np.testing.assert_array_equal(layer.quantised().codes, wanted.numpy())


def test_refusals(training):
    with pytest.raises(UsageError, match="no ternary rule"):
        training.TernaryLinear(64, 8, rule="best")
    with pytest.raises(UsageError, match="groups of 32 channels, and 50 come in"):
        training.TernaryLinear(50, 8)
