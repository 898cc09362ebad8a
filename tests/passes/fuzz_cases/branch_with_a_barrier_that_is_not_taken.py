"""What comes before and behind a branch with a barrier in it, which the call does not take."""
import pto as pt

ARGUMENTS = {'x2': ('f32', 2), 'n3': 2, 'x7': ('f32', 3, 3)}
EXACT, SEED = False, 9639


@pt.tile_kernel()
def k(x2: pt.f32[2], n3: pt.index, x7):
    v1 = x2
    if n3 < 4:
        pass
    else:
        v1 = pt.where(v1 >= 0.0, x2 > 1.0, v1)
    v4 = pt.empty(x7.shape)
    for i5 in pt.range(0, x7.shape[0], 2):
        t8 = pt.zeros((2, 1))
        for j6 in pt.range(0, x7.shape[1], 32):
            v4[i5:i5 + 2, j6:j6 + 32] = pt.where(t8 > 0.0, x7[i5:i5 + 2, j6:j6 + 32], 1.0)
    return (v4, v1)
