"""Forms: what is packed has the layout that the form promises, and may be packed some rows at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pto.core.errors import UsageError
from pto.quant.forms import FORMS, PANEL, Packed, form_of, pack
from pto.quant.schemes import SCHEMES, TENSOR, find
from pto.quant.tensor import quantise

KEPT = [(scheme, form) for scheme in SCHEMES for form in FORMS if form.takes(scheme, 64)]


def test_every_form_keeps_some_scheme():
    assert {form.name for _, form in KEPT} == {form.name for form in FORMS}


@pytest.mark.parametrize(("scheme", "form"), KEPT, ids=lambda row: row.name)
@given(st.integers(1, 50), st.integers(1, 3), st.integers(0, 2))
def test_parts_are_what_the_layout_says_and_rows_may_come_one_panel_after_the_other(scheme, form, rows, groups, layers):
    width = 128 * groups if form.layout(1, 1)[0][0] == "uint8" or scheme.share > 1 else 37 * groups
    lead = (layers,) * bool(layers)
    weights = quantise(np.random.default_rng(rows).standard_normal((*lead, rows, width)), scheme)
    made = pack(weights, form=form.name)
    assert made.form is form_of(scheme, weights.shape, form=form.name)
    assert [(p.dtype.name, p.shape) for p in made.parts] == [(d, (*lead, *s)) for d, s in form.layout(rows, width)]
    if scheme.share == TENSOR:
        return
    room = Packed.empty(form, made.activation, weights.shape)
    for at in np.ndindex(lead):
        values = weights.dequantise()[at]
        for first in range(0, rows, PANEL):
            some = type(weights)(scheme, weights.codes[at][first:first + PANEL], weights.scale[at][first:first + PANEL],
                                 None if weights.offset is None else weights.offset[at][first:first + PANEL])
            assert np.array_equal(some.dequantise(), values[first:first + PANEL])
            room.put(some, first, *at)
    assert [p.tobytes() for p in room.parts] == [p.tobytes() for p in made.parts]


@pytest.mark.parametrize(("scheme", "shape", "form", "words"), [
    ("int8_channel", (8,), "", "two axes or more, not 1"),
    ("int8_g64", (4, 8, 64), "", "no kernel multiplies a14 activations with weights in int8_g64 of 4 x 8 x 64"),
    ("int8_channel", (8, 32), "q4", "no kernel multiplies"),
])
def test_weights_that_no_form_keeps(scheme, shape, form, words):
    with pytest.raises(UsageError, match=words):
        form_of(find(scheme), shape, form=form)
