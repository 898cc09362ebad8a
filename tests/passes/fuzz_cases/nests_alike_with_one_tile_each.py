"""As flags_of_nests_of_one_tile_each, where the nest before them takes one turn, too."""
import pto as pt

ARGUMENTS = {'x1': ('f32', 9, 9), 'x2': (('s32', 9), 15), 'x12': ('f32', 15, 15)}
EXACT, SEED = True, 19292


@pt.tile_kernel(tile_n=7)
def k(x1, x2, x12):
    v3 = pt.embedding(x2, x1)
    v5 = pt.where(v3 >= 0.0, v3, v3)
    v9 = pt.empty((x12.shape[0], 1))
    for i10 in pt.range(0, x12.shape[0], 8):
        t13, t14 = pt.zeros((8, 1)), pt.full((8, 1), 1.0)
        for j11 in pt.range(0, x12.shape[1], 2):
            t13, t14 = (t14, t13)
        v9[i10:i10 + 8] = t14
    return v9, v3, v5
