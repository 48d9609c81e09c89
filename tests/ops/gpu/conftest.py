"""Triton decides when a kernel is decorated whether it will be interpreted: the variable is set before anything imports one."""

import os

import pytest
import torch

from srwm.ops.gpu.availability import AVAILABLE

INTERPRETED = AVAILABLE and not torch.cuda.is_available()
if INTERPRETED:
    os.environ["TRITON_INTERPRET"] = "1"


@pytest.fixture
def interpreter() -> None:
    """The test needs Triton's interpreter; it is skipped where Triton is not installed, or where there is a GPU instead."""
    if not INTERPRETED:
        pytest.skip("Triton's interpreter runs where Triton is installed and no GPU is")
