"""The vector functions of every instruction set that this machine runs: simd_test.cpp, built by CMake."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ..conftest import NATIVE_MISSING

ROOT = Path(__file__).parents[3]
BESIDE_PYTHON = Path(sys.executable).with_name("cmake")
CMAKE = str(BESIDE_PYTHON) if BESIDE_PYTHON.exists() else shutil.which("cmake")
COMPILER = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
pytestmark = [
    NATIVE_MISSING,
    pytest.mark.slow,
    pytest.mark.skipif(not (CMAKE and COMPILER), reason="needs cmake and a C++ compiler"),
]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simd")
    assert CMAKE is not None
    subprocess.run([CMAKE, "-S", ROOT, "-B", folder, "-DSRWM_TESTS=ON"], check=True, capture_output=True)
    return folder


def test_vector_functions(isa: str, build: Path) -> None:
    assert CMAKE is not None
    program = f"simd_test_{isa}"
    built = subprocess.run([CMAKE, "--build", build, "--target", program], capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    done = subprocess.run([build / program], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert int(done.stdout.split()[2]) > 10_000
