"""Float32 operations per second that the machine reaches from registers: `fma_peak.cpp`, built by CMake and run."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


def fma_peak(isa: str, threads: int) -> float:
    """Measured operations per second of `threads` threads in the instruction set `isa`, the best of five."""
    source, target = Path(__file__).parent.parent, f"fma_peak_{isa}"
    with tempfile.TemporaryDirectory() as build:
        _run(_cmake(), "-S", str(source), "-B", build, "-DSRWM_BENCHMARKS=ON")
        _run(_cmake(), "--build", build, "--target", target)
        return float(_run(str(Path(build, target)), str(threads)))


def _cmake() -> str:
    beside_python = Path(sys.executable).with_name("cmake")
    found = str(beside_python) if beside_python.exists() else shutil.which("cmake")
    if found is None:
        raise SystemExit("cmake: not found; pip install cmake")
    return found


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
