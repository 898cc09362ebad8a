"""A branch copies a view of an array, whose rows are not as far apart as those of the room for the result."""
import pto as pt

ARGUMENTS = {'x1': ('f32', 2, 1), 'n9': 0}
EXACT, SEED = True, 17820


@pt.tile_kernel()
def k(x1, n9: pt.index):
    v4 = x1.unsqueeze(1)
    v5 = v4
    if n9 < 4:
        v5 = v4
    else:
        pass
    return v5
