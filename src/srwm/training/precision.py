"""Whether this machine gains anything by computing in bfloat16."""

from pathlib import Path

import torch

_CPUINFO = Path("/proc/cpuinfo")
_UNITS = {"avx512_bf16", "amx_bf16", "bf16"}
"""Flags of CPUs that multiply in bfloat16: those of x86, and that of ARM."""


def bfloat16_warning(precision: str, device: torch.device, option: str) -> str | None:
    """A warning for a run in bfloat16 on a CPU without bfloat16 units, where each operation converts to float32 and back.

    Args:
        precision: float32 or bfloat16.
        device: the device of the run.
        option: the command-line option of the precision.

    Returns:
        The warning. None for another precision or device, for a CPU with such units, and where the system does not tell.
    """
    if precision != "bfloat16" or device.type != "cpu":
        return None
    flags = _cpu_flags()
    if not flags or flags & _UNITS:
        return None
    return f"warning: this CPU has no bfloat16 units; {option} float32 will be faster"


def _cpu_flags() -> set[str]:
    """The features of the CPU as Linux names them; none on other systems."""
    try:
        lines = _CPUINFO.read_text().splitlines()
    except OSError:
        return set()
    return next((set(line.split()) for line in lines if line.lower().startswith(("flags", "features"))), set())
