"""pto: tile kernels in Python, compiled through four graphs to a virtual accelerator. ``import pto as pt``."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Where each public name lives; modules are imported when a name is first used.
_HOMES = {
    "pto.runtime.kernel": ("Kernel", "tile_kernel"),
    "pto.lang.kernel": ("constexpr",),
    "pto.runtime.threads": ("get_num_threads", "set_num_threads"),
    "pto.lang.language": ("abs", "arange", "cat", "cdiv", "ceil", "concat", "cos", "dot", "embedding", "empty", "erf",
                          "exp", "floor", "full", "full_like", "gelu", "layer_norm", "log", "log_softmax",
                          "logsumexp", "matmul", "maximum", "minimum", "num_programs", "ones", "ones_like",
                          "program_id", "range", "reciprocal", "relu", "rms_norm", "rope", "round", "rsqrt",
                          "sigmoid", "silu", "sin", "softmax", "split", "sqrt", "stack", "static_assert",
                          "static_range", "tanh", "tile_matmul", "zeros", "zeros_like"),
    "pto.lang.reductions": ("all", "any", "argmax", "argmin", "count_nonzero", "max", "mean", "min", "prod", "std",
                            "sum", "var"),
    "pto.lang.functions": ("cosh", "elu", "exp2", "expm1", "floor_divide", "hardswish", "isfinite", "isinf", "isnan",
                           "leaky_relu", "linear", "log10", "log1p", "log2", "log_sigmoid", "logical_and",
                           "logical_not", "logical_or", "logical_xor", "mish", "pow", "power", "relu6", "remainder",
                           "sign", "sinh", "softplus", "square", "tan", "trunc"),
    "pto.lang.shapes": ("chunk", "eye", "flatten", "flip", "gather", "index_select", "linspace", "one_hot", "outer",
                        "pad", "repeat_interleave", "roll", "tile", "tril", "triu"),
    "pto.lang.convolution": ("conv2d",),
    "pto.lang.random": ("dropout", "rand", "randint", "randn"),
    "pto.lang.tiling": ("TileConfig", "TileOptimizer", "tile_optimizer"),
    "pto.lang.reports": ("assert_", "device_assert", "device_print", "print"),
    "pto.lang.windows": ("load", "store"),
    "pto.lang.attention": ("attention",),
    "pto.lang.choosing": ("topk",),
    "pto.lang.selection": ("clamp", "clip", "masked_fill", "where"),
    "pto.lang.values": ("cast",),
    "pto.core.numeric": ("NumericConfig", "NumericEvent", "numeric_config", "set_numeric_config"),
    "pto.precision": ("dot_int8x4", "int8_gemm", "load_int8x4", "ternary_gemm"),
    "pto.core.errors": ("PtoError",),
    "pto.ir.text": ("text",),
    "pto.ir.parse": ("parse",),
}
_NAMES = {name: module for module, names in _HOMES.items() for name in names}
_DTYPES = {
    "f32": "F32", "float32": "F32", "f16": "F16", "float16": "F16", "bf16": "BF16", "bfloat16": "BF16", "s32": "S32",
    "int32": "S32", "s16": "S16", "int16": "S16", "s8": "S8", "int8": "S8", "u8": "U8", "uint8": "U8", "bool": "PRED",
}
_TYPES = {"index": "INDEX"}
__all__ = [*_NAMES, *_DTYPES, *_TYPES]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        value = getattr(import_module(_NAMES[name]), name)
    elif name in _DTYPES:
        value = getattr(import_module("pto.core.dtypes"), _DTYPES[name])
    elif name in _TYPES:
        value = getattr(import_module("pto.core.types"), _TYPES[name])
    else:
        raise AttributeError(f"module 'pto' has no attribute {name!r}")
    globals()[name] = value
    return value
