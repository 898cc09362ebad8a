"""A loop carries two tensors and nothing reads the second one after it, whose memory then holds another value."""
import pto as pt

ARGUMENTS = {'n2': 0, 'x4': ('f32', 1, 1), 'x5': ('f32', 1, 1), 'x9': ('f32', 1, 1), 'n11': 0}
EXACT, SEED = True, 4516


@pt.tile_kernel()
def k(n2: pt.index, x4, x5, x9, n11: pt.index):
    v6 = x5
    v1 = pt.where(x5 > 0.0, x4, 1.0)
    for i3 in pt.range(n2):
        v1, v6 = (v6, x5)
    v8 = x9 - x4
    if n11 < 4:
        v8 = v1
    return v8
