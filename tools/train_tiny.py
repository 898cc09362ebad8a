"""Train the small Llama that ships with pto, on stories of `tools/grammar.py`, and write it as a GGUF file.

    python -m tools.train_tiny pto/models/data/tiny.gguf

Needs PyTorch, which pto itself does not; 1,800 steps take about twenty minutes on one core, and one is best: the
matrices are small. Equal seeds and versions give the same stories in the same order; the file may differ in its
last bits from machine to machine.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear, scaled_dot_product_attention, silu

from pto.models.config import LlamaConfig
from pto.models.export import save_gguf
from pto.models.rope import rope_tables
from pto.models.tensors import KINDS
from tools.grammar import stories

END = 256  # the token after the 256 bytes: begins and ends a story
CONFIG = LlamaConfig(
    layers=4, embed=128, ffn=384, heads=4, kv_heads=2, head_dim=32, vocab=257, context=512, rope_base=10000.0,
    eps=1e-5, tied=True, bos=END, stop=(END,),
)
STEPS, BATCH, WINDOW, RATE, WARM_UP = 1800, 7, 512, 4e-3, 60


class Llama(nn.Module):
    """The decoder with stacked weights, as `pto.models.reference` computes it."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
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
            x = x + linear(silu(linear(h, self.gate[layer])) * linear(h, self.up[layer]), self.down[layer])
        return linear(rms_norm(x, self.norm, self.config.eps), self.embed)

    def attend(self, h: Tensor, layer: int) -> Tensor:
        c, (batch, length, _) = self.config, h.shape
        q, k, v = (linear(h, w[layer]).view(batch, length, -1, c.head_dim).transpose(1, 2)
                   for w in (self.query, self.key, self.value))
        k, v = (t.repeat_interleave(c.heads // c.kv_heads, 1) for t in (self.rotate(k), v))
        mixed = scaled_dot_product_attention(self.rotate(q), k, v, is_causal=True)
        return linear(mixed.transpose(1, 2).reshape(batch, length, -1), self.output[layer])

    def rotate(self, t: Tensor) -> Tensor:
        low, high = t.chunk(2, -1)
        return torch.cat((low * self.cos - high * self.sin, high * self.cos + low * self.sin), -1)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x [..., channels] scaled to a root mean square of one, times the weights."""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight


def windows(seed: int) -> Iterator[Tensor]:
    """Batches of ids [BATCH, WINDOW + 1]; a row begins where a text begins, and has as many stories as it holds."""
    told = stories(seed)
    while True:
        rows = []
        for _ in range(BATCH):
            row = [END]
            while len(row) <= WINDOW:
                row += [*next(told).encode(), END]
            rows.append(row[:WINDOW + 1])
        yield torch.tensor(rows)


def train(steps: int, seed: int) -> dict[str, np.ndarray]:
    """The weights by kind, stacked."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    model = Llama(CONFIG)
    matrices = [p for p in model.parameters() if p.dim() == 3]
    others = [p for p in model.parameters() if p.dim() != 3]
    optimiser = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}], betas=(0.9, 0.98))
    start = time.time()
    for step, batch in enumerate(islice(windows(seed), steps)):
        rate = RATE * min((step + 1) / WARM_UP, 0.5 + 0.5 * math.cos(math.pi * step / steps))
        for group in optimiser.param_groups:
            group["lr"] = rate
        logits = model(batch[:, :-1])
        loss = cross_entropy(logits.reshape(-1, CONFIG.vocab), batch[:, 1:].reshape(-1))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step:5d}  loss {loss.item():.4f}  {time.time() - start:.0f} s", flush=True)
    return {name: value.detach().numpy() for name, value in model.named_parameters()}


def main() -> None:
    """Train, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=2026)
    options = parser.parse_args()
    weights = train(options.steps, options.seed)
    save_gguf(options.output, CONFIG, weights, storage="Q8_0")
    print(f"{options.output}: {options.output.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
