"""The program file: what is written is read, and nothing else is."""

from __future__ import annotations

import json
import os
import resource
import struct
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from random import Random

import pytest
from hypothesis import given, settings

from pto.core.errors import Loc, ProgramError, PtoFormatError, UsageError
from pto.isa import file
from pto.isa.codec import encode_all
from pto.isa.file import FIRST, dumps, load, loads, save
from pto.isa.meta import debug_bytes, meta_bytes
from pto.isa.program import Inst, Program, Reg
from pto.isa.table import BY_MNEMONIC
from tests.isa.gemm import GEMM
from tests.isa.strategies import programs
from tests.scaling import calls

DATA = dumps(GEMM)
SMALL = Program("p", "V2", code=(Inst(BY_MNEMONIC["halt"]),))
SECTIONS = {b"code": encode_all(GEMM.code), b"meta": meta_bytes(GEMM), b"debug": debug_bytes(GEMM)}


def packed(sections: dict[bytes, bytes]) -> bytes:
    """A file with these sections, all lengths and digests right."""
    table, offset = b"", 64 + 64 * len(sections)
    for name, data in sections.items():
        table += struct.pack("<16sQQ32s", name, offset, len(data), sha256(data).digest())
        offset += len(data)
    header = struct.pack("<8sIIQ32s8x", b"\x89PTO\r\n\x1a\n", 1, len(sections), offset, sha256(table).digest())
    return header + table + b"".join(sections.values())


def edited(section: bytes, change) -> bytes:
    """The file with the JSON of one section changed and everything around it made right again."""
    value = json.loads(SECTIONS[section])
    result = change(value)
    value = value if result is None else result
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return packed({**SECTIONS, section: text.encode()})


def refusal(data: bytes) -> str:
    with pytest.raises(PtoFormatError) as err:
        loads(data, "x.pto")
    message = str(err.value)
    assert message.startswith("error[PTO-E0101]: x.pto: ")
    assert message.isprintable() and len(message) < 1000
    return message.removeprefix("error[PTO-E0101]: x.pto: ")


@settings(max_examples=60)
@given(programs())
def test_a_file_gives_the_program_back(program):
    data = dumps(program)
    assert loads(data) == program
    assert dumps(loads(data)) == data


def test_the_format_is_what_its_page_says():
    assert packed(SECTIONS) == DATA
    assert DATA[FIRST:FIRST + 64 * len(GEMM.code)] == SECTIONS[b"code"]


def test_bytes_are_the_same_in_every_process():
    probe = "from tests.isa.gemm import GEMM; from pto.isa.file import dumps; print(dumps(GEMM).hex())"
    for seed in ("1", "2"):
        done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True,
                              env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.getcwd()})
        assert bytes.fromhex(done.stdout) == DATA


def test_an_illegal_program_is_neither_written_nor_read():
    bad = replace(GEMM, code=GEMM.code[:-1])
    with pytest.raises(ProgramError, match="spans are given for 26 instructions, there are 25"):
        dumps(bad)
    with pytest.raises(ProgramError, match="can run off its end"):
        dumps(replace(bad, lines=()))
    data = packed({**SECTIONS, b"code": SECTIONS[b"code"][:-64], b"debug": debug_bytes(replace(bad, lines=()))})
    assert refusal(data) == (
        "the program breaks a rule of the machine: instruction 24: tstore: the program can run off its end")


def put(offset: int, value: bytes) -> bytes:
    return DATA[:offset] + value + DATA[offset + len(value):]


@pytest.mark.parametrize(("data", "message"), [
    (b"", "byte 0: magic: this is not a .pto file"),
    (b"PK\x03\x04" + bytes(400), "byte 0: magic: this is not a .pto file"),
    (DATA.replace(b"\r\n", b"\n"), "byte 0: magic: damaged, as by a transfer as text"),
    (bytes([9]) + DATA[1:], "byte 0: magic: damaged, as by a transfer as text"),
    (DATA[:100], "byte 100: the file ends within its first 256 bytes"),
    (put(8, b"\2"), "byte 8: version: is 2, not 1"),
    (put(12, b"\xff\xff\xff\xff"), "byte 12: section count: is 4294967295, not 3"),
    (DATA[:-1], f"byte 16: total length: is {len(DATA)}, not {len(DATA) - 1}"),
    (DATA + b"\0", f"byte 16: total length: is {len(DATA)}, not {len(DATA) + 1}"),
    (put(56, b"\1"), "byte 56: reserved bytes: is 0100000000000000, not 0000000000000000"),
    (put(FIRST, b"\0"), "byte 96: section code: digest: does not fit the contents"),
])
def test_damaged_headers(data, message):
    assert refusal(data) == message


@pytest.mark.parametrize(("change", "message"), [
    ((64, b"kode"), r"byte 64: section code: name: is b'kode"),
    ((80, struct.pack("<Q", 0)), "byte 80: section code: offset: is 0, not 256"),
    ((80, struct.pack("<Q", 2**64 - 1)), f"byte 80: section code: offset: is {2**64 - 1}, not 256"),
    ((88, struct.pack("<Q", 2**63)), f"byte 88: section code: length: is {2**63}, at most {2**30}"),
    ((88, struct.pack("<Q", 2**29)), f"byte 88: section code: length: is {2**29}, the file has {len(DATA) - 256} more"),
    ((88, struct.pack("<Q", 0)), "byte 96: section code: digest: does not fit the contents"),
    ((216, struct.pack("<Q", 0)), "byte 224: section debug: digest: does not fit the contents"),
])
def test_damaged_tables(change, message):
    data = put(*change)
    data = data[:24] + sha256(data[64:256]).digest() + data[56:]
    assert refusal(data).startswith(message)


def test_bytes_behind_the_last_section():
    data = packed(SECTIONS) + b"tail"
    data = data[:16] + struct.pack("<Q", len(data)) + data[24:]
    assert refusal(data) == f"byte {len(DATA)}: 4 bytes follow the last section"


META = [
    (lambda m: m.__delitem__("name"), "the section lacks name"),
    (lambda m: m.update(more=1), "the section has the unknown key 'more'"),
    (lambda m: m.update(name=5), "name is 5, not a string"),
    (lambda m: m.update(name="\x1b[1m"), "name has a control character"),
    (lambda m: m.update(name="a" * 2000), "name has 2000 characters, at most 1024"),
    (lambda m: m.update(tiles={}), "tiles is {}, not an array"),
    (lambda m: m["tiles"][2].update(rows=True), f"tiles[2].rows is True, not an integer from {-2**63} to {2**63 - 1}"),
    (lambda m: m["tiles"][2].update(rows=1.5), "the section has the number '1.5', all numbers are integers"),
    (lambda m: m["tiles"][2].update(rows=float("nan")), "the section has the number 'NaN', all numbers are integers"),
    (lambda m: m["tiles"][2].update(rows=10**30), "the section has an integer of 31 digits"),
    (lambda m: m["tiles"][0].update(space="gm"), "tiles[0].space is 'gm', not one of l1, l0a, l0b, l0c, ub"),
    (lambda m: m["tiles"][0].update(layout=None), "tiles[0].layout is None, not one of row, col, panel"),
    (lambda m: m["tensors"][0].update(dtype="f99"), "tensors[0].dtype is 'f99', not one of f32"),
    (lambda m: m["tensors"][0].update(read=1), "tensors[0].read is 1, not true or false"),
    (lambda m: m["tensors"][0].update(dims=[[]]), "tensors[0].dims[0] is [], not an integer"),
    (lambda m: m["parameters"].append(3), "parameters[3] is 3, not an object"),
    (lambda m: [], "the section is [], not an object"),
    (lambda m: json.dumps(m), "the section is not in its one canonical form"),
    (lambda m: json.dumps(m)[:-1], "the section is not JSON at byte "),
    (lambda m: '{"name":1,"name":2}', "the section has an object with a key given twice"),
    (lambda m: "[" * 100_000, "the section is nested too deeply"),
    (lambda m: "é", "the section is not ASCII at byte 0"),
    (lambda m: "9" * 100_000, "the section has an integer of 100000 digits"),
]


@pytest.mark.parametrize(("change", "message"), META)
def test_meta_is_strict(change, message):
    assert refusal(edited(b"meta", change)).startswith(f"section meta: {message}")


@pytest.mark.parametrize(("change", "message"), [
    (lambda d: d["spans"].append([]), "spans[3] has 0 values, not file, line, column, end and text"),
    (lambda d: d["spans"][0].__setitem__(4, "a\x1b"), "spans[0][4] has a control character"),
    (lambda d: d["spans"][0].__setitem__(0, "a\u202e"), "spans[0][0] has a control character"),
    (lambda d: d["spans"][0].__setitem__(2, 2**40), f"spans[0][2] is {2**40}, not an integer from 0 to 1024"),
    (lambda d: d["lines"].__setitem__(0, [-0.0]), "the section has the number '-0.0'"),
    (lambda d: d["lines"].__delitem__(-1), "lines: are not given for each instruction, or for none"),
    (lambda d: d.update(lines=[[]] * 26), "lines: are not given for each instruction, or for none"),
    (lambda d: d["lines"].__setitem__(0, [7]), "the program breaks a rule of the machine: span 7 is not declared"),
])
def test_debug_is_strict(change, message):
    found = refusal(edited(b"debug", change))
    assert found.removeprefix("section debug: ").startswith(message)


def test_a_file_names_the_bad_record():
    code = bytearray(SECTIONS[b"code"])
    code[64 * 7] = 0xEE
    assert refusal(packed({**SECTIONS, b"code": bytes(code)})) == (
        "section code: instruction 7 at byte 448: opcode 0xee: no instruction has it")


def test_every_flipped_bit_is_refused():
    data = dumps(SMALL)
    for bit in range(8 * len(data)):
        bad = bytearray(data)
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises(PtoFormatError):
            loads(bytes(bad))


def test_every_truncation_is_refused():
    for end in range(len(DATA)):
        with pytest.raises(PtoFormatError):
            loads(DATA[:end])


SPLICES = (bytes(8), b"\xff" * 8, b"\0" * 7 + b"\x80", b"99999999", b'[[[[{{""')


def mutant(random: Random) -> bytes:
    """A file whose framing is right and whose contents are not what was written."""
    sections = dict(SECTIONS)
    name = random.choice(list(sections))
    data = bytearray(sections[name])
    for _ in range(random.randint(1, 3)):
        place, kind = random.randrange(len(data)), random.randrange(5)
        if kind == 0:
            data[place] ^= 1 << random.randrange(8)
        elif kind == 1:
            data[place:place + 8] = random.choice(SPLICES)
        elif kind == 2:
            del data[place:place + random.randint(1, 64)]
        elif kind == 3:
            other = random.randrange(len(data))
            data[place:place] = data[other:other + random.randint(1, 64)]
        else:
            data[place:place + 1] = random.choice((b'""', b"null", b"-1", b"1e9", b"\\u001b", b"{}", b"\\ud800"))
        data = data or bytearray(b" ")
    sections[name] = bytes(data)
    return packed(sections)


def test_mutants_are_refused_or_valid():
    random, accepted, messages = Random(11), 0, []
    for _ in range(3000):
        data = mutant(random)
        try:
            program = loads(data)
        except PtoFormatError as err:
            messages.append(str(err))
        else:
            accepted += 1
            assert dumps(program) == data
    assert 0 < accepted < 1000
    assert all(text.isprintable() for text in messages)


@pytest.mark.parametrize("times", [1, 8])
def test_loading_takes_few_calls_an_instruction(times):
    straight, last = GEMM.code[:-1], GEMM.code[-1:]
    movs = (Inst(BY_MNEMONIC["mov"], (Reg(9), 1)),) * (len(straight) * (times - 1))
    lines = (*GEMM.lines[:-1], *[()] * len(movs), *GEMM.lines[-1:])
    data = dumps(replace(GEMM, code=(*straight, *movs, *last), lines=lines))
    count = len(GEMM.code) * times
    assert calls(lambda: loads(data)) < 400 * count


@pytest.mark.parametrize("more", [-1, 0, 1])
@pytest.mark.parametrize("name", [b"code", b"meta", b"debug"])
def test_the_limits_of_sections(name, more, monkeypatch):
    monkeypatch.setitem(file.LIMITS, name, len(SECTIONS[name]) - more)
    if more <= 0:
        assert loads(dumps(GEMM)) == GEMM
    else:
        assert refusal(DATA).endswith(f"length: is {len(SECTIONS[name])}, at most {len(SECTIONS[name]) - 1}")
        with pytest.raises(PtoFormatError, match=f"section {name.decode()} has"):
            dumps(GEMM)


def test_save_and_load(tmp_path):
    place = tmp_path / "a.pto"
    save(SMALL, place)
    save(GEMM, str(place))
    assert load(place) == GEMM == load(str(place))
    assert [p.name for p in tmp_path.iterdir()] == ["a.pto"]


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    place = tmp_path / "a.pto"
    save(SMALL, place)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail)
            with pytest.raises(UsageError, match=r"cannot write .*: No space left on device"):
                save(GEMM, place)
        assert load(place) == SMALL
        assert [p.name for p in tmp_path.iterdir()] == ["a.pto"]
    with pytest.raises(UsageError, match="No such file or directory"):
        save(GEMM, tmp_path / "none" / "a.pto")
    with pytest.raises(ProgramError):
        save(replace(GEMM, code=()), place)
    assert load(place) == SMALL


def test_what_cannot_be_read(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "big").write_bytes(DATA)
    places = {
        tmp_path / "none": "cannot be read: No such file or directory", tmp_path / "pipe": "is not a regular file",
        tmp_path: "is not a regular file", "/dev/zero": "is not a regular file",
        "a\0b": "cannot be read: embedded null byte",
    }
    for place, message in places.items():
        with pytest.raises(PtoFormatError) as err:
            load(place)
        assert message in str(err.value) and str(err.value).isprintable()
    monkeypatch.setattr(file, "SIZE_LIMIT", len(DATA) - 1)
    with pytest.raises(PtoFormatError, match=f"has {len(DATA)} bytes, a program file at most {len(DATA) - 1}"):
        load(tmp_path / "big")


def test_hostile_paths_are_not_printed():
    with pytest.raises(PtoFormatError) as err:
        loads(b"", "\x1b[2J\n.pto")
    assert str(err.value).isprintable()


def test_loading_neither_executes_nor_imports():
    probe = """
import sys
from pto.isa.file import dumps, loads
from tests.isa.gemm import GEMM
data, seen = dumps(GEMM), []
loads(data)
sys.addaudithook(lambda event, args: seen.append(event))
loads(data)
try:
    loads(data[:-1])
except Exception:
    pass
print(sorted(set(seen)))
"""
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True,
                          env={**os.environ, "PYTHONPATH": os.getcwd()})
    seen = {word.strip(" '[]\n") for word in done.stdout.split(",")}
    assert not seen & {"exec", "compile", "import", "open", "pickle.find_class", "os.system", "subprocess.Popen",
                       "socket.connect"}


def test_deep_nesting_takes_little_memory():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refusal(packed({**SECTIONS, b"debug": b"[" * 2**20}))
    refusal(packed({**SECTIONS, b"meta": b'{"a":' * 2**18}))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


def test_debug_text_that_cannot_be_printed_is_replaced():
    program = replace(SMALL, spans=(Loc("k.py", 1, 0, 1, "a\fb"),), lines=((0,),))
    assert loads(dumps(program)).spans == (Loc("k.py", 1, 0, 1, "a\ufffdb"),)
