"""Train the small Llama that ships with pto, on stories of `tools/grammar.py`, and write it as a GGUF file.

    python -m tools.train_tiny pto/models/data/tiny.gguf
    python -m tools.train_tiny pto/models/data/tiny-ternary.gguf --ternary pto/models/data/tiny.gguf --steps 500

The second makes its ternary twin: it goes on from the weights of the first, and in each step every matrix of a layer is
rounded to -1, 0 and 1 times a scale for each row. Each prints the perplexity of stories that it has not read.

Needs PyTorch, which pto itself does not; 1,800 steps take about twenty minutes on one core, 500 of the second about
eight, and one is best: the matrices are small. Equal seeds and versions give the same stories in the same order; the
file may differ in its last bits from machine to machine.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear, scaled_dot_product_attention, silu

from pto.models.checkpoint import open_checkpoint
from pto.models.config import LlamaConfig
from pto.models.export import save_gguf
from pto.models.rope import rope_tables
from pto.models.tensors import KINDS
from pto.models.weights import load_weights
from pto.precision.training import ternary_linear
from pto.quant.schemes import find
from pto.quant.tensor import Quantised, quantise
from tools.grammar import END, WINDOW, held_out, rows

CONFIG = LlamaConfig(
    layers=4, embed=128, ffn=384, heads=4, kv_heads=2, head_dim=32, vocab=257, context=512, rope_base=10000.0,
    eps=1e-5, tied=True, bos=END, stop=(END,),
)
STEPS, BATCH, RATE, WARM_UP = 1800, 7, 4e-3, 60
Product = Callable[[Tensor, Tensor], Tensor]


class Llama(nn.Module):
    """The decoder with stacked weights, as `pto.models.reference` computes it.

    Args:
        product: x and weights [out, in] to x W', for the matrices of layers.
    """

    def __init__(self, config: LlamaConfig, product: Product = linear) -> None:
        super().__init__()
        self.config, self.product = config, product
        for kind in KINDS:
            if kind.name != "head":
                shape = kind.shape(config)
                scale = torch.ones(shape) if kind.is_norm else torch.randn(shape) * shape[-1] ** -0.5 * 0.5
                self.register_parameter(kind.name, nn.Parameter(scale))
        cos, sin = rope_tables(config, WINDOW)
        self.cos, self.sin = torch.from_numpy(cos), torch.from_numpy(sin)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits [batch, window, vocab] of token ids [batch, window]."""
        x = self.embed[ids]
        for layer in range(self.config.layers):
            x = x + self.attend(rms_norm(x, self.attn_norm[layer], self.config.eps), layer)
            h = rms_norm(x, self.ffn_norm[layer], self.config.eps)
            hidden = silu(self.product(h, self.gate[layer])) * self.product(h, self.up[layer])
            x = x + self.product(hidden, self.down[layer])
        return linear(rms_norm(x, self.norm, self.config.eps), self.embed)

    def attend(self, h: Tensor, layer: int) -> Tensor:
        c, (batch, length, _) = self.config, h.shape
        q, k, v = (self.product(h, w[layer]).view(batch, length, -1, c.head_dim).transpose(1, 2)
                   for w in (self.query, self.key, self.value))
        k, v = (t.repeat_interleave(c.heads // c.kv_heads, 1) for t in (self.rotate(k), v))
        mixed = scaled_dot_product_attention(self.rotate(q), k, v, is_causal=True)
        return self.product(mixed.transpose(1, 2).reshape(batch, length, -1), self.output[layer])

    def rotate(self, t: Tensor) -> Tensor:
        low, high = t.chunk(2, -1)
        cos, sin = self.cos[:t.shape[-2]], self.sin[:t.shape[-2]]
        return torch.cat((low * cos - high * sin, high * cos + low * sin), -1)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x [..., channels] scaled to a root mean square of one, times the weights."""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight


def batches(seed: int) -> Iterator[Tensor]:
    """Ids [BATCH, WINDOW + 1]."""
    told = rows(seed, WINDOW + 1)
    while True:
        yield torch.tensor([next(told) for _ in range(BATCH)])


def loss_of(model: Llama, batch: Tensor) -> Tensor:
    """The mean of -log of the probability that each next token had."""
    return cross_entropy(model(batch[:, :-1]).reshape(-1, CONFIG.vocab), batch[:, 1:].reshape(-1))


def train(model: Llama, steps: int, seed: int) -> None:
    """Let a model read stories."""
    matrices = [p for p in model.parameters() if p.dim() == 3]
    others = [p for p in model.parameters() if p.dim() != 3]
    optimiser = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}], betas=(0.9, 0.98))
    start = time.time()
    for step, batch in enumerate(islice(batches(seed), steps)):
        rate = RATE * min((step + 1) / WARM_UP, 0.5 + 0.5 * math.cos(math.pi * step / steps))
        for group in optimiser.param_groups:
            group["lr"] = rate
        loss = loss_of(model, batch)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step:5d}  loss {loss.item():.4f}  {time.time() - start:.0f} s", flush=True)


def perplexity(model: Llama) -> float:
    """Of stories that no model has read."""
    with torch.no_grad():
        return math.exp(loss_of(model, torch.tensor(held_out()).view(-1, WINDOW)))


def begin(model: Llama, path: Path) -> None:
    """Give a model the weights of a file."""
    stored = load_weights(open_checkpoint(path))
    model.load_state_dict({name: torch.from_numpy(stored[name].copy()) for name, _ in model.named_parameters()})


def weights(model: Llama, ternary: bool) -> dict[str, np.ndarray | Quantised]:
    """The weights by kind, stacked; the matrices of layers as what they are in a product."""
    found = {name: value.detach().numpy() for name, value in model.named_parameters()}
    scheme = find("ternary_absmean_channel")
    return {name: quantise(array, scheme) if ternary and array.ndim == 3 else array for name, array in found.items()}


def main() -> None:
    """Train, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--ternary", type=Path, metavar="BEGIN", help="make the ternary twin of this file's model")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    model = Llama(CONFIG, ternary_linear if options.ternary else linear)
    if options.ternary:
        begin(model, options.ternary)
    train(model, options.steps, options.seed)
    save_gguf(options.output, CONFIG, weights(model, bool(options.ternary)), storage="Q8_0", name=options.output.stem)
    print(f"{options.output}: {options.output.stat().st_size:,} bytes, perplexity {perplexity(model):.4f}")


if __name__ == "__main__":
    main()
