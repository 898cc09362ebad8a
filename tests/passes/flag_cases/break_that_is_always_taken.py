import pto as pt

ARGUMENTS = {'n2': 2, 'x4': ('f32', 17), 'x5': ('f32', 17), 'x7': ('bf16', 17)}
EXACT, SEED = False, 149


@pt.tile_kernel(tile_m=3, tile_n=3, tile_k=2)
def k(n2: pt.index, x4: pt.f32["E17"], x5, x7):
    v6 = pt.where((x7.to(pt.f32) > 1.0) | ~(x4 > 0.0), x7.to(pt.f32), -1.0)
    v1 = pt.where((x4 >= 0.0) & (x4 < 2.0), x4, x4)
    for i3 in pt.range(n2):
        if i3 >= 0:
            break
        v1, v6 = v6, pt.where((v1 > 1.0) | ~(x5 > 0.0), v1, -1.0)
    return v6
