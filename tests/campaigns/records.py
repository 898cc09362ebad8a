"""Records, half of them random and half of them legal ones that were changed: each is refused, or means itself."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np

from pto.core.errors import ProgramError, PtoFormatError
from pto.isa.codec import CANONICAL_NAN, decode, encode, encode_all
from pto.isa.spec import OPERAND_WORDS, RECORD_BYTES
from pto.isa.table import TABLE
from tests.campaigns.children import in_children
from tests.campaigns.corpus import case_of, every
from tests.campaigns.report import Report, main

COUNT, A_CASE = 500_000, 1000  # records; of them in one case
WORDS = struct.Struct(f"<Q{OPERAND_WORDS}q")
BORDERS = (-(2**63), -64, -1, 0, 1, 6, 7, 63, 64, 255, 256, 1023, 1024, 2**31 - 1, 2**31, 2**63 - 1,
           0x7FF0_0000_0000_0001, -(2**51), CANONICAL_NAN)
OPCODES = [row.opcode for row in TABLE]


def run(count: int, seed: int) -> Report:
    """Decode `count` records."""
    legal = legal_records(seed)
    cases = -(-count // A_CASE)
    return in_children(lambda number, report: _some(report, number, seed, legal), cases, batch=100)


def legal_records(seed: int) -> list[bytes]:
    """Records of whole programs and of each instruction on each route."""
    codes = [sample.program.code for sample in every()]
    codes += [case_of(number, seed, 3)[1].program.code for number in range(400)]
    data = encode_all(inst for code in codes for inst in code)
    return sorted({data[at:at + RECORD_BYTES] for at in range(0, len(data), RECORD_BYTES)})


def _some(report: Report, number: int, seed: int, legal: list[bytes]) -> None:
    rng = np.random.default_rng([seed, number, 4])
    for i in range(A_CASE):
        changed = i % 2 == 0
        if changed:
            record = CHANGES[int(rng.integers(len(CHANGES)))](rng, legal[int(rng.integers(len(legal)))], legal)
        else:
            record = RANDOM[int(rng.integers(len(RANDOM)))](rng)
        judge(report, "changed" if changed else "random", record)


def judge(report: Report, kind: str, record: bytes) -> None:
    """Decode it; what it means has this record and no other."""
    try:
        inst = decode(record)
    except PtoFormatError as err:
        report.saw(f"{kind}: refused")
        if not err.message.isprintable() or len(err.message) > 400:
            report.fail(f"{record.hex()}: the message is {err.message[:400]!r}")
        return
    report.saw(f"{kind}: means itself")
    try:
        again = encode(inst)
    except ProgramError as err:
        report.fail(f"{record.hex()}: decodes, but does not encode: {err}")
        return
    if again != record:
        report.fail(f"{record.hex()}: comes back as {again.hex()}")


def _flip(rng: np.random.Generator, record: bytes, _: list[bytes]) -> bytes:
    data = bytearray(record)
    for bit in rng.integers(0, 8 * RECORD_BYTES, int(rng.integers(1, 4))).tolist():
        data[bit // 8] ^= 1 << bit % 8
    return bytes(data)


def _border(rng: np.random.Generator, record: bytes, _: list[bytes]) -> bytes:
    head, *words = WORDS.unpack(record)
    words[int(rng.integers(OPERAND_WORDS))] = BORDERS[int(rng.integers(len(BORDERS)))]
    return WORDS.pack(head, *words)


def _near(rng: np.random.Generator, record: bytes, _: list[bytes]) -> bytes:
    """A word a little larger or smaller."""
    head, *words = WORDS.unpack(record)
    at = int(rng.integers(OPERAND_WORDS))
    words[at] = max(-(2**63), min(2**63 - 1, words[at] + int(rng.integers(-300, 300))))
    return WORDS.pack(head, *words)


def _head(rng: np.random.Generator, record: bytes, _: list[bytes]) -> bytes:
    """Another opcode, or other masks, attributes or tile numbers."""
    head, *words = WORDS.unpack(record)
    low, bits = [(0, 8), (8, 7), (16, 8), (24, 10), (34, 10), (44, 10), (54, 10)][int(rng.integers(7))]
    value = int(rng.choice(OPCODES)) if low == 0 and rng.random() < 0.7 else int(rng.integers(1 << bits))
    return WORDS.pack(head & ~((1 << bits) - 1 << low) | value << low, *words)


def _splice(rng: np.random.Generator, record: bytes, legal: list[bytes]) -> bytes:
    """Some words of another record."""
    at = 8 * int(rng.integers(1, 8))
    return record[:at] + legal[int(rng.integers(len(legal)))][at:]


def _noise(rng: np.random.Generator) -> bytes:
    return rng.bytes(RECORD_BYTES)


def _plausible(rng: np.random.Generator) -> bytes:
    """A known opcode, few mask bits, low tile numbers and small or bordering words."""
    opcode = OPCODES[int(rng.integers(len(OPCODES)))]
    mask = int(rng.integers(128)) & int(rng.integers(128))
    tiles = sum(int(rng.integers(4)) << 10 * i for i in range(int(rng.integers(5))))
    words = [int(rng.integers(0, 300)) if rng.random() < 0.7 else BORDERS[int(rng.integers(len(BORDERS)))]
             for _ in range(OPERAND_WORDS)]
    used = int(rng.integers(OPERAND_WORDS + 1))
    return WORDS.pack(opcode | mask << 8 | tiles << 24, *words[:used], *[0] * (OPERAND_WORDS - used))


CHANGES: tuple[Callable[[np.random.Generator, bytes, list[bytes]], bytes], ...] = (
    _flip, _border, _near, _head, _splice,
)
RANDOM: tuple[Callable[[np.random.Generator], bytes], ...] = (_noise, _plausible, _plausible, _plausible)


if __name__ == "__main__":
    main("records", run, COUNT)
