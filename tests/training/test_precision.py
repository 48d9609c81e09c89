"""Runs in bfloat16 are warned where the CPU has no units for it."""

from pathlib import Path

import pytest
import torch

from srwm.training import precision
from srwm.training.precision import bfloat16_warning

CPU = torch.device("cpu")
PLAIN = "processor\t: 0\nflags\t\t: fpu sse2 avx2 fma avx512f\n"


@pytest.fixture
def cpuinfo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "cpuinfo"
    monkeypatch.setattr(precision, "_CPUINFO", path)
    return path


def test_a_cpu_without_bfloat16_units_is_named(cpuinfo: Path) -> None:
    cpuinfo.write_text(PLAIN)
    found = bfloat16_warning("bfloat16", CPU, "--precision")
    assert found == "warning: this CPU has no bfloat16 units; --precision float32 will be faster"
    cpuinfo.write_text("processor : 0\nFeatures : fp asimd\n")
    assert bfloat16_warning("bfloat16", CPU, "--precision") == found


@pytest.mark.parametrize("flags", ["flags : avx2 avx512_bf16", "flags : amx_bf16 amx_tile", "Features : bf16", "model : x"])
def test_a_cpu_with_such_units_or_of_which_nothing_is_known_is_not(cpuinfo: Path, flags: str) -> None:
    cpuinfo.write_text(f"processor : 0\n{flags}\n")
    assert bfloat16_warning("bfloat16", CPU, "--precision") is None


def test_only_bfloat16_on_a_cpu_of_a_known_kind_is_warned(cpuinfo: Path) -> None:
    assert bfloat16_warning("bfloat16", CPU, "--precision") is None, "no such file, as outside Linux"
    cpuinfo.write_text(PLAIN)
    assert bfloat16_warning("float32", CPU, "--precision") is None
    assert bfloat16_warning("bfloat16", torch.device("cuda"), "--precision") is None
