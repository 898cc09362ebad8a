"""What a Llama looks like, whichever file it came from."""

from __future__ import annotations

import math
from dataclasses import dataclass

LIMITS = {
    "layers": 1024, "embed": 2**17, "ffn": 2**20, "heads": 2**12, "kv_heads": 2**12, "head_dim": 2**12,
    "vocab": 2**22, "context": 2**24,
}


@dataclass(frozen=True, slots=True)
class RopeScaling:
    """How rotary frequencies are stretched for contexts longer than those of the first training.

    Attributes:
        kind: ``linear``, ``llama3``, or ``factors`` (a file that stores the divisors themselves).
        divisors: each frequency is divided by its own; one divisor serves all.
    """

    kind: str
    divisors: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class LlamaConfig:
    """The shapes and constants of a Llama decoder (RMSNorm, rotary embedding, grouped queries, SwiGLU).

    Attributes:
        layers, embed, ffn, vocab, context: numbers of layers, channels, hidden channels, tokens, positions.
        heads, kv_heads, head_dim: query heads, key/value heads (a divisor of `heads`), channels of a head.
        rope_base: base of the rotary frequencies.
        eps: what RMSNorm adds to the mean square.
        tied: the output head is the embedding.
        bos: the id that begins a text, if the model wants one.
        stop: ids that end a text.
    """

    layers: int
    embed: int
    ffn: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    context: int
    rope_base: float
    eps: float
    tied: bool
    scaling: RopeScaling | None = None
    bos: int | None = None
    stop: tuple[int, ...] = ()

    @property
    def group(self) -> int:
        """Query heads that share a key/value head."""
        return self.heads // self.kv_heads

    def faults(self) -> list[str]:
        """What makes this no Llama, each as ``field: reason``; empty for a sound configuration."""
        found = [f"{name}: is {getattr(self, name)}, not between 1 and {limit}"
                 for name, limit in LIMITS.items() if not 1 <= getattr(self, name) <= limit]
        if found:
            return found
        if self.heads % self.kv_heads:
            found.append(f"kv_heads: {self.heads} query heads cannot share {self.kv_heads} key/value heads evenly")
        if self.head_dim % 2:
            found.append(f"head_dim: {self.head_dim} is odd, rotary embedding turns pairs")
        for name in ("rope_base", "eps"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                found.append(f"{name}: is {getattr(self, name)}, not a positive number")
        return found + self._faults_of_scaling() + self._faults_of_ids()

    def _faults_of_scaling(self) -> list[str]:
        if self.scaling is None:
            return []
        divisors = self.scaling.divisors
        if len(divisors) not in (1, self.head_dim // 2):
            return [f"rope scaling: has {len(divisors)} divisors for {self.head_dim // 2} frequencies"]
        if not all(math.isfinite(d) and d > 0 for d in divisors):
            return ["rope scaling: a divisor is no positive number"]
        return []

    def _faults_of_ids(self) -> list[str]:
        ids = (*self.stop, *(() if self.bos is None else (self.bos,)))
        return [f"token id: {i} is not in a vocabulary of {self.vocab}" for i in ids if not 0 <= i < self.vocab]
