"""Compile the Triton kernels ahead of time, without a GPU, and print what each takes as a line of JSON.

    python compile_kernels.py cuda:90 [cuda:80 hip:gfx942 ...]

Run without TRITON_INTERPRET.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from srwm.ops.gpu import fast_weights_kernels, srwm_backward, srwm_forward
from srwm.ops.gpu.availability import block_of_columns, padded, tile, warps, warps_of_block
from srwm.ops.gpu.launch import OPTIONS

BOOLS, INTEGERS = ("resets", "mask"), ("T", "H", "D", "N", "INTERVAL")


def kernels() -> Iterator[tuple[str, Any, dict[str, Any], int]]:
    """A name, the kernel, its constants, its warps: every kernel at narrow and wide heads, with all options and with none."""
    for e in (16, 32, 64):
        for options in (False, True):
            sizes = {"E": e, "BE": padded(e), "HAS_STATE": options, "HAS_RESETS": options, "HAS_MASK": options}
            own = {**sizes, "D": e, "BD": padded(e), "INTERVAL": max(256, 4 * e)}
            name, count = f"{e}{' with options' if options else ''}", warps(tile(e, e))
            yield f"srwm forward {name}", srwm_forward.forward, {**own, "TRAINING": True}, count
            grads = {"HAS_GRAD_STATE": options, "OF_STATE": options}
            yield f"srwm backward {name}", srwm_backward.backward, own | grads, count
    for e in (16, 64, 256):
        flags = dict.fromkeys(("HAS_BETA", "HAS_DECAY", "HAS_STATE", "HAS_RESETS", "HAS_MASK"), True)
        constants, count = {"E": e, "BE": padded(e), "BD": block_of_columns(e), **flags}, warps_of_block(e, e)
        yield f"fast weights forward {e}", fast_weights_kernels.forward, constants | {"TRAINING": True}, count
        yield f"fast weights backward {e}", fast_weights_kernels.backward, constants | {"HAS_GRAD_STATE": True}, count


def compiled(kernel: Any, constants: dict[str, Any], count: int, target: GPUTarget) -> Any:
    """The kernel for a target, its arguments as a launch would specialize them."""
    unaligned = kernel.do_not_specialize_on_alignment or ()
    signature, attributes = {}, {}
    for i, parameter in enumerate(kernel.params):
        name = parameter.name
        if name in constants:
            signature[name] = "constexpr"
        elif name in INTEGERS:
            signature[name] = "i32"
        else:
            signature[name] = "*i1" if name in BOOLS else "*i32" if name == "starts" else "*fp32"
            if name not in unaligned:
                attributes[(i,)] = [["tt.divisibility", 16]]
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=attributes)
    return triton.compile(source, target=target, options={"num_warps": count, **OPTIONS})


def usage(kernel: Any, target: GPUTarget) -> dict[str, int]:
    """Registers a thread, bytes spilled and bytes of shared memory."""
    if target.backend == "hip":
        text = kernel.asm["amdgcn"]
        found = [re.search(rf"\.{key}:\s+(\d+)", text) for key in ("vgpr_count", "vgpr_spill_count")]
        registers, spilled = (int(match[1]) for match in found)
        return {"registers": registers, "spilled": 4 * spilled, "shared": kernel.metadata.shared}
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        command = [str(tool), "--dump-resource-usage", file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    registers, stack = map(int, re.search(r"REG:(\d+) STACK:(\d+)", text).groups())
    return {"registers": registers, "spilled": stack, "shared": kernel.metadata.shared}


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        backend, _, architecture = argument.partition(":")
        target = GPUTarget(backend, int(architecture) if backend == "cuda" else architecture, 32 if backend == "cuda" else 64)
        for name, kernel, constants, count in kernels():
            number = max(count // 2, 1) if backend == "hip" else count
            found = usage(compiled(kernel, constants, number, target), target)
            print(json.dumps({"target": argument, "kernel": name, **found}), flush=True)
