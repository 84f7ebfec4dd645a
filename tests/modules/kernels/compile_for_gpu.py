"""Compiles every kernel for an H100, which needs no such card: `python compile_for_gpu.py [NAME …]`."""

import sys
from importlib import import_module
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

TARGET = GPUTarget("cuda", 90, 32)
NORM = {"BIAS": True, "AFFINE": True, "SKIP": True, "RELU": True, "LOG": False}
BARE = {"BIAS": False, "AFFINE": False, "SKIP": False, "RELU": False, "LOG": True}
BLOCK, PARTS = {"F": 8, "C2": 512}, {"F": 8, "C2": 512, "P2": 64}
AHEAD, ALONE = (
    {"LEAD": 5, "REPLICATE": True, "BESIDE": True},
    {"LEAD": 0, "REPLICATE": False, "BESIDE": False},
)
POINTERS = {  # what is not of the network's own type
    "norm": {
        "parts": "*fp32",
        "stats": "*fp32",
        "sums": "*fp32",
        "columns": "*fp32",
        "lengths": "*i64",
        "table": "*i64",
    },
    "gumbel": {"codes": "*i64", "rows": "*i64", "probs": "*fp32", "counts": "*fp32", "drawn": "*fp32"},
    "asg": {"lengths": "*i64", "last": "*i64", "came": "*i32", "path": "*i32"},
    "rows": {
        **dict.fromkeys(("moments", "weight", "shift", "scale", "scales", "shifts"), "*fp32"),
        **dict.fromkeys(("valid", "clip"), "*i64"),
    },
}
SCALARS = {
    "T",
    "C",
    "P",
    "R",
    "B",
    "V",
    "L",
    "N",
    "G",
    "D",
    "books",
    "skip_batch",
    "out_batch",
    "ahead_batch",
    "columns_layer",
}
FLOATS = {"heat", "eps", "scale", "beside_scale"}
KERNELS: list[tuple[str, dict[str, Any]]] = [
    ("norm.moments", {"BIAS": True, "SOME": True, **BLOCK}),
    ("norm.moments", {"BIAS": False, "SOME": False, **BLOCK}),
    ("norm.apply", {**NORM, "SOME": True, "LEAD": 5, "REPLICATE": True, **PARTS}),
    ("norm.apply", {**BARE, "SOME": False, "LEAD": 3, "REPLICATE": False, **PARTS}),
    ("norm.gather", {**AHEAD, **BLOCK}),
    ("norm.reduce_backward", {**NORM, **AHEAD, "STORE": True, **BLOCK}),
    ("norm.reduce_backward", {**BARE, **ALONE, "STORE": False, **BLOCK}),
    ("norm.apply_backward", {**NORM, **PARTS}),
    ("norm.apply_backward", {**BARE, **PARTS}),
    ("norm.lay_out", {"CENTRE": True, "C2": 512, "K2": 16}),
    ("gumbel.sample", {"V2": 512, "D2": 256}),
    ("gumbel.sample_backward", {"V2": 512}),
    ("rows.norm", {"AFFINE": True, "C2": 512, "P2": 1024}),
    ("rows.norm", {"AFFINE": False, "C2": 512, "P2": 1024}),
    ("rows.finish", {"RELU": True, "F": 8, "C2": 512}),
    ("rows.finish", {"RELU": False, "F": 8, "C2": 512}),
    ("asg.all_paths", {"V2": 32}),
    ("asg.expected", {"V2": 32}),
    ("asg.target_paths", {"L2": 128}),
    ("asg.best_path", {"V2": 32}),
]
ABSENT = {
    "BIAS": ["bias"],
    "AFFINE": ["weight", "shift"],
    "SKIP": ["skip"],
    "SOME": ["lengths"],
    "BESIDE": ["beside"],
}


def compiled(name: str, constants: dict[str, Any]) -> int:
    """The size of the machine code."""
    file, _, function = name.partition(".")
    kernel = getattr(import_module(f"vqw2v_plugin.modules.kernels.triton_{file}"), function)
    own, absent = "*fp64" if file == "asg" else "*bf16", set()
    for flag, names in ABSENT.items():
        absent |= set() if constants.get(flag, True) else set(names)
    signature, values = {}, {}
    for i, argument in enumerate(kernel.arg_names):
        kind = (
            "i32"
            if argument in SCALARS
            else "fp32"
            if argument in FLOATS and argument not in POINTERS[file]
            else POINTERS[file].get(argument, own)
        )
        if argument in constants or argument in absent:
            kind, values[(i,)] = "constexpr", constants.get(argument)
        signature[argument] = kind
    return len(triton.compile(ASTSource(kernel, signature, values), target=TARGET).asm["cubin"])


if __name__ == "__main__":
    for name, constants in KERNELS:
        if name in (sys.argv[1:] or [name]):
            print(name, compiled(name, constants), flush=True)
