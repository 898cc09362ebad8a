"""The GGUF reader: what it reads, and what it refuses, with offset and field and before it allocates."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from struct import pack

import numpy as np
import pytest

from pto.core.errors import PtoFormatError
from pto.models import gguf
from pto.models.gguf import LIMITS, parse
from pto.models.gguf_writer import TensorBytes, Typed, dumps
from pto.quant.blocks import BY_NAME
from tests.models.files import seed_file

F32 = BY_NAME["F32"]
HUGE = 2**63


def string(text: str) -> bytes:
    return pack("<Q", len(text.encode())) + text.encode()


def header(tensors: int = 0, fields: int = 0, version: int = 3, magic: bytes = b"GGUF") -> bytes:
    return magic + pack("<IQQ", version, tensors, fields)


def field(key: str, kind: int, value: bytes) -> bytes:
    return header(0, 1) + string(key) + pack("<I", kind) + value + bytes(64)


def tensor(extents=(4,), storage: int = 0, offset: int = 0, count: int | None = None, name: str = "t",
           data: int = 64) -> bytes:
    count = len(extents) if count is None else count
    head = header(1) + string(name) + pack(f"<I{len(extents)}QIQ", count, *extents, storage, offset)
    return head + bytes(-len(head) % 32 + data)


def two(first: str, second: str, offset: int, behind: int = 0) -> bytes:
    """Two tensors of four elements."""
    entries = ((first, 0), (second, offset))
    head = header(2) + b"".join(string(name) + pack("<IQIQ", 1, 4, 0, at) for name, at in entries)
    return head + bytes(-len(head) % 32 + 64 + behind)


# The bytes, and what the refusal must say: offset, field, reason.
HOSTILE = {
    "empty": (b"", "byte 0: magic: this is not a GGUF file"),
    "magic": (header(magic=b"GGML"), "byte 0: magic"),
    "cut in the header": (header()[:20], "byte 0: header: needs 24 bytes, the file has 20"),
    "version 2": (header(version=2), "byte 4: version: is 2, not 3"),
    "big-endian": (header(version=3 << 24), "byte 4: version: the file is big-endian"),
    "tensor count 2^64 - 1": (header(2**64 - 1), "byte 8: tensor count: is 18446744073709551615, at most"),
    "tensor count beyond the file": (header(60000), "byte 8: tensor count: is 60000, but only 0 bytes follow"),
    "field count 2^63": (header(0, HUGE), "byte 16: field count: is 9223372036854775808"),
    "field count beyond the file": (header(0, 5) + bytes(26), "byte 16: field count: is 5, but only 26"),
    "43 bytes, one field": (header(0, 1) + string("k") + pack("<I", 9) + bytes(6), "byte 41: length of k: needs 8"),
    "key longer than the file": (header(0, 1) + pack("<Q", 60000) + bytes(40), "byte 32: key of field 0: needs 60000"),
    "key of 2^63 bytes": (header(0, 1) + pack("<Q", HUGE) + bytes(40), "byte 24: key of field 0: is a string of"),
    "key of controls": (field("a\x1b[2J", 4, bytes(4)), "byte 24: key of field 0: 'a"),
    "key without a name": (field("", 4, bytes(4)), "byte 24: key of field 0: '' is not a printable name"),
    "key not UTF-8": (header(0, 1) + pack("<Q", 2) + b"\xff\xfe" + bytes(64), "byte 32: key of field 0: is not"),
    "key twice": (header(0, 2) + (string("k") + pack("<II", 4, 1)) * 2, "byte 41: 'k': appears twice"),
    "type 13": (field("k", 13, bytes(8)), "byte 33: type of k: is 13"),
    "type 2^32 - 1": (field("k", 2**32 - 1, bytes(8)), "byte 33: type of k: is 4294967295"),
    "bool 2": (field("k", 7, b"\2"), "byte 37: k: is a bool of value 2"),
    "string of 2^63 bytes": (field("k", 8, pack("<Q", HUGE)), "byte 37: k: is a string of 9223372036854775808"),
    "string longer than the file": (field("k", 8, pack("<Q", 1000)), "byte 45: k: needs 1000 bytes"),
    "array of 2^63": (field("k", 9, pack("<IQ", 4, HUGE)), "byte 41: length of k: is 9223372036854775808"),
    "array whose size wraps 2^64": (field("k", 9, pack("<IQ", 10, 2**61 + 1)), "byte 41: length of k: is 23058430"),
    "array longer than the file": (field("k", 9, pack("<IQ", 4, 10**6)), "byte 41: length of k: is 1000000, but only"),
    "array of strings of no length": (field("k", 9, pack("<IQ", 8, 9)), "byte 41: length of k: is 9, but only"),
    "array of bools": (field("k", 9, pack("<IQ", 7, 1) + b"\3"), "byte 49: k: has a bool"),
    "string in an array": (field("k", 9, pack("<IQQ", 8, 1, HUGE)), "byte 49: k[0]: is a string of"),
    "string in an array beyond the file": (field("k", 9, pack("<IQQ", 8, 1, 99)), "byte 57: k[0]: needs 99 bytes"),
    "string in an array, not UTF-8": (field("k", 9, pack("<IQQ", 8, 1, 1) + b"\x80"), "byte 57: k[0]: is not UTF-8"),
    "arrays of arrays of arrays": (field("k", 9, pack("<IQIQIQ", 9, 1, 9, 1, 9, 0)), "byte 61: k[0]: is an array of"),
    "70,000 arrays of arrays": (field("k", 9, pack("<IQ", 9, 70000) + bytes(9 * 70000)), "byte 49: length of k: is 7"),
    "arrays of type 99": (field("k", 9, pack("<IQ", 99, 0)), "byte 37: type of k: is 99"),
    "alignment 2^31": (field("general.alignment", 4, pack("<I", 2**31)), "byte 53: general.alignment: is 2147483648"),
    "alignment 0": (field("general.alignment", 4, bytes(4)), "byte 53: general.alignment: is 0"),
    "alignment 48": (field("general.alignment", 4, pack("<I", 48)), "byte 53: general.alignment: is 48, not a power"),
    "alignment -32": (field("general.alignment", 5, pack("<i", -32)), "byte 53: general.alignment: is -32"),
    "alignment as text": (field("general.alignment", 8, string("32")), "byte 53: general.alignment: is of type string"),
    "dimensions 2^32 - 1": (tensor(count=2**32 - 1), "byte 33: dimensions of t: are 4294967295"),
    "dimensions 5": (tensor((1,) * 5), "byte 33: dimensions of t: are 5, not between 1 and 4"),
    "dimensions 0": (tensor(()), "byte 33: dimensions of t: are 0"),
    "extent 0": (tensor((4, 0)), "byte 37: extents of t: are 4 x 0"),
    "extents whose product wraps 2^64": (tensor((2**32, 2**32 + 1)), "byte 37: extents of t: are 4294967296 x"),
    "extent -1": (tensor((2**64 - 1,)), "byte 37: extents of t: are 18446744073709551615"),
    "more elements than the file": (tensor((2**30,)), "byte 49: offset of t: its 4294967296 bytes end at"),
    "rows of half a block": (tensor((48, 2), storage=8), "byte 53: storage of t: Q8_0 has blocks of 32"),
    "storage Q6_K": (tensor((256,), storage=14), "byte 45: storage of t: is Q6_K; readable are F32, F16, BF16, Q8_0"),
    "storage 77": (tensor(storage=77), "byte 45: storage of t: is 77; readable"),
    "name of 65 bytes": (tensor(name="t" * 65), "byte 24: name of tensor 0: is a string of 65 bytes, at most 64"),
    "name of controls": (tensor(name="t\x9b2J"), "byte 24: name of tensor 0: 't"),
    "name that turns the line": (tensor(name="t\u202etxt"), "byte 24: name of tensor 0"),
    "tensor twice": (two("t", "t", 32), "byte 57: 't': appears twice"),
    "offset beyond the file": (tensor(offset=2**62), "byte 49: offset of t: is 4611686018427387904, not 0"),
    "offset -32": (tensor(offset=2**64 - 32), "byte 49: offset of t: is 18446744073709551584, not 0"),
    "overlap": (two("t", "u", 0), "byte 82: offset of u: is 0, not 32"),
    "hole": (two("t", "u", 64), "byte 82: offset of u: is 64, not 32"),
    "not aligned": (two("t", "u", 16), "byte 82: offset of u: is 16, not 32"),
    "cut in the data": (tensor()[:-63], "byte 49: offset of t: its 16 bytes end at"),
    "bytes behind": (two("t", "u", 32, 1), "1 bytes follow the last tensor"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_with_offset_and_field(name):
    data, words = HOSTILE[name]
    tracemalloc.start()
    with pytest.raises(PtoFormatError) as caught:
        parse(data, "x.gguf")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.message.startswith(f"x.gguf: {words}" if words[0] == "b" else "x.gguf: byte ")
    assert words in caught.value.message
    assert caught.value.message.isprintable()
    assert peak < 2**18, "something was allocated on the word of the file"


def test_there_are_shapes_enough():
    assert len(HOSTILE) >= 25


@pytest.mark.parametrize("alignment", [1, 32, 4096])
def test_a_file_has_what_was_written(alignment):
    data = seed_file(alignment)
    file = parse(data)
    f = file.fields
    assert (f["a.u8"].integer(), f["a.i64"].integer(-10), f["a.f64"].number()) == (7, -9, 0.5)
    assert f["a.flag"].flag() and f["general.architecture"].text() == "llama"
    assert f["a.texts"].texts(4) == ["one", "zwei", "три", ""] and f["a.none"].texts() == []
    assert f["a.numbers"].numbers(2).tolist() == [1, 2] and f["a.small"].numbers().tolist() == [-1, 0, 1]
    for name, tensor in file.tensors.items():
        assert name == f"t.{tensor.storage.name}" and tensor.shape == (2, 64)
        assert tensor.offset % alignment == 0
        tensor.read(np.empty((2, 64), np.float32))


def test_every_cut_is_refused_but_of_the_padding_at_the_end():
    data = seed_file()
    last = list(parse(data).tensors.values())[-1]
    for length in range(last.offset + last.nbytes):
        with pytest.raises(PtoFormatError):
            parse(data[:length])


@pytest.mark.parametrize(("method", "key"), [
    (m, k) for m, right in (("integer", {"a.u8", "llama.block_count"}), ("flag", {"a.flag"}),
                            ("texts", {"a.texts", "a.none"}), ("text", {"general.architecture"}), ("number", {"a.u8"}),
                            ("numbers", {"a.numbers", "a.small", "a.flags"}))
    for k in ("a.u8", "a.flag", "a.texts", "a.numbers", "general.architecture") if k not in right])
def test_a_field_of_another_type_is_refused(method, key):
    found = parse(seed_file()).fields[key]
    with pytest.raises(PtoFormatError, match=rf"byte {found.offset}: {key}: is of type"):
        getattr(found, method)()


def test_counts_of_lists_are_checked():
    with pytest.raises(PtoFormatError, match="has 4 elements, not 5"):
        parse(seed_file()).fields["a.texts"].texts(5)


def at_limit(name: str, size: int) -> bytes:
    """A file of which one property is just so large."""
    small = [TensorBytes(f"t{n}", F32, (1,), bytes(4)) for n in range(size)]
    makers = {
        "string": lambda: dumps({"k": "x" * size}, []), "items": lambda: dumps({"k": [Typed("u8", 1)] * size}, []),
        "strings": lambda: dumps({"k": [""] * size}, []),
        "fields": lambda: dumps({f"k{n}": 1 for n in range(size)}, []),
        "tensors": lambda: dumps({}, small), "dims": lambda: dumps({}, [TensorBytes("t", F32, (1,) * size, bytes(4))]),
        "elements": lambda: dumps({}, [TensorBytes("t", F32, (size,), bytes(4 * size))]),
        "alignment": lambda: dumps({}, [], alignment=size),
    }
    return makers[name]()


@pytest.mark.parametrize(("name", "limit"), [("string", 9), ("items", 5), ("strings", 6), ("fields", 4), ("tensors", 3),
                                             ("dims", 2), ("elements", 10), ("alignment", 64)])
def test_limits_hold_to_the_unit(name, limit):
    limits = replace(LIMITS, **{name: limit})
    parse(at_limit(name, limit), limits=limits)
    if name != "alignment":
        parse(at_limit(name, limit - 1), limits=limits)
    with pytest.raises(PtoFormatError):
        parse(at_limit(name, 2 * limit if name == "alignment" else limit + 1), limits=limits)


def test_the_limit_of_metadata_holds():
    data = dumps({"k": "x" * 100}, [])
    end = 24 + 8 + 1 + 4 + 8 + 100
    parse(data, limits=replace(LIMITS, metadata=end))
    with pytest.raises(PtoFormatError, match=f"the metadata has more than {end - 1} bytes"):
        parse(data, limits=replace(LIMITS, metadata=end - 1))


def test_the_gguf_package_reads_what_is_written(tmp_path):
    package = pytest.importorskip("gguf")
    path = tmp_path / "x.gguf"
    path.write_bytes(seed_file())
    theirs, ours = package.GGUFReader(path), gguf.load(path)
    assert {t.name for t in theirs.tensors} == set(ours.tensors)
    for t in theirs.tensors:
        out = np.empty(ours.tensors[t.name].shape, np.float32)
        ours.tensors[t.name].read(out)
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(out, package.dequantize(t.data, t.tensor_type))
    assert theirs.fields["a.texts"].contents() == ours.fields["a.texts"].texts()
