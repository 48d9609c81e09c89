"""Errors of arguments are one line: the argument, what was expected, what was given."""

import re
from typing import Any

import numpy as np
import pytest
import torch

from .recurrences import RECURRENCES, Sizes, draw

SIZES = Sizes(2, 3, 4, 5, 6)  # B, T, H, E, D

FLAGS = [
    ("resets", torch.zeros(2, 4, dtype=torch.bool), "resets: expected (B, T) = (2, 3), got (2, 4)"),
    ("resets", torch.zeros(3, dtype=torch.bool), "resets: expected (B, T) = (2, 3), got (3,)"),
    ("resets", np.zeros((2, 3), bool), "resets: expected (B, T) = (2, 3), got ndarray"),
    ("resets", torch.zeros(2, 3), "resets: expected dtype torch.bool, got torch.float32"),
    ("resets", torch.zeros(2, 3, dtype=torch.bool, device="meta"), "resets: expected device cpu, got meta"),
    ("mask", torch.ones(3, 3, dtype=torch.bool), "mask: expected (B, T) = (2, 3), got (3, 3)"),
    ("mask", [[True] * 3] * 2, "mask: expected (B, T) = (2, 3), got list"),
    ("mask", torch.ones(2, 3, dtype=torch.uint8), "mask: expected dtype torch.bool, got torch.uint8"),
    ("mask", torch.ones(2, 3, dtype=torch.bool, device="meta"), "mask: expected device cpu, got meta"),
    ("backend", "triton", "backend: 'triton' computes float32 on CUDA devices, got torch.float32 on cpu"),
    ("backend", "Native", "backend: expected one of auto, reference, chunked, native, triton, got 'Native'"),
]
SRWM = [
    ("x", torch.zeros(2, 3, 4), "x: expected (B, T, H, E), got (2, 3, 4)"),
    ("x", np.zeros((2, 3, 4, 5)), "x: expected (B, T, H, E), got ndarray"),
    ("x", torch.zeros(2, 3, 4, 0), "x: expected (B, T, H, E) with E >= 1, got (2, 3, 4, 0)"),
    ("x", torch.zeros(2, 3, 9, 5), "weight: expected (H, E, D + 2E + 4) = (9, 5, 20), got (4, 5, 20)"),
    ("weight", torch.zeros(5, 20), "weight: expected (H, E, D + 2E + 4), got (5, 20)"),
    ("weight", torch.zeros(4, 6, 20), "weight: expected (H, E, D + 2E + 4) = (4, 5, 20), got (4, 6, 20)"),
    ("weight", torch.zeros(3, 5, 20), "weight: expected (H, E, D + 2E + 4) = (4, 5, 20), got (3, 5, 20)"),
    ("weight", torch.zeros(4, 5, 14), "weight: expected (H, E, D + 2E + 4) with D >= 1 for E = 5, got (4, 5, 14)"),
    ("weight", torch.zeros(4, 5, 20, device="meta"), "weight: expected device cpu, got meta"),
    ("state", torch.zeros(4, 5, 20), "state: expected (B, H, E, D + 2E + 4) = (2, 4, 5, 20), got (4, 5, 20)"),
    ("state", torch.zeros(1, 4, 5, 20), "state: expected (B, H, E, D + 2E + 4) = (2, 4, 5, 20), got (1, 4, 5, 20)"),
    ("state", torch.zeros(2, 4, 5, 19), "state: expected (B, H, E, D + 2E + 4) = (2, 4, 5, 20), got (2, 4, 5, 19)"),
    ("state", torch.zeros(2, 4, 5, 20, device="meta"), "state: expected device cpu, got meta"),
]
FAST_WEIGHTS = [
    ("q", torch.zeros(2, 3, 4), "q: expected (B, T, H, E), got (2, 3, 4)"),
    ("q", torch.zeros(2, 3, 4, 0), "q, v: expected E >= 1 and D >= 1, got (2, 3, 4, 0) and (2, 3, 4, 6)"),
    ("q", torch.zeros(2, 3, 4, 8), "k: expected (B, T, H, E) = (2, 3, 4, 8), got (2, 3, 4, 5)"),
    ("k", torch.zeros(2, 3, 4), "k: expected (B, T, H, E) = (2, 3, 4, 5), got (2, 3, 4)"),
    ("k", None, "k: expected (B, T, H, E) = (2, 3, 4, 5), got NoneType"),
    ("k", torch.zeros(2, 2, 4, 5), "k: expected (B, T, H, E) = (2, 3, 4, 5), got (2, 2, 4, 5)"),
    ("k", torch.zeros(2, 3, 4, 5, device="meta"), "k: expected device cpu, got meta"),
    ("v", torch.zeros(2, 3, 4), "v: expected (B, T, H, D), got (2, 3, 4)"),
    ("v", torch.zeros(2, 3, 3, 6), "v: expected (B, T, H, D) = (2, 3, 4, 6), got (2, 3, 3, 6)"),
    ("v", torch.zeros(2, 3, 4, 0), "q, v: expected E >= 1 and D >= 1, got (2, 3, 4, 5) and (2, 3, 4, 0)"),
    ("v", torch.zeros(2, 3, 4, 6, device="meta"), "v: expected device cpu, got meta"),
    ("state", torch.zeros(2, 4, 6, 5), "state: expected (B, H, E, D) = (2, 4, 5, 6), got (2, 4, 6, 5)"),
    ("state", torch.zeros(4, 5, 6), "state: expected (B, H, E, D) = (2, 4, 5, 6), got (4, 5, 6)"),
    ("state", torch.zeros(2, 4, 5, 6, device="meta"), "state: expected device cpu, got meta"),
]
BETA = [
    ("beta", torch.zeros(2, 3, 4, 1), "beta: expected (B, T, H) = (2, 3, 4), got (2, 3, 4, 1)"),
    ("beta", torch.zeros(2, 3, 4, device="meta"), "beta: expected device cpu, got meta"),
]
DECAY = [
    ("decay", torch.zeros(2, 3, 5), "decay: expected (B, T, H) = (2, 3, 4), got (2, 3, 5)"),
    ("decay", torch.zeros(2, 3, 4, dtype=torch.double), "q: expected torch.float64 as decay has, got torch.float32"),
    ("decay", torch.zeros(2, 3, 4, device="meta"), "decay: expected device cpu, got meta"),
]
WITHOUT = [
    ("srwm", "state", "state: expected (B, H, E, D + 2E + 4), got NoneType"),
    ("delta_rule", "state", "state: expected (B, H, E, D), got NoneType"),
    ("delta_rule", "beta", "beta: expected (B, Q, H), got NoneType"),
    ("linear_attention", "state", "state: expected (B, H, E, D), got NoneType"),
]
MISTAKES = {
    "srwm": SRWM,
    "delta_rule": FAST_WEIGHTS + BETA,
    "linear_attention": FAST_WEIGHTS,
    "delta_rule_decay": BETA + DECAY,
    "linear_attention_decay": DECAY,
}


@pytest.mark.parametrize(
    ("name", "argument", "value", "message"),
    [(name, *mistake) for name in MISTAKES for mistake in MISTAKES[name] + FLAGS],
)
def test_message(name: str, argument: str, value: Any, message: str) -> None:
    recurrence = RECURRENCES[name]
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        recurrence.run(**draw(recurrence, SIZES) | {argument: value})


@pytest.mark.parametrize(
    ("name", "argument", "value", "message"), [(name, *mistake) for name in MISTAKES for mistake in MISTAKES[name]]
)
def test_message_of_a_query(name: str, argument: str, value: Any, message: str) -> None:
    """The same, with Q in the place of T."""
    recurrence = RECURRENCES[name]
    with pytest.raises(ValueError, match=f"^{re.escape(message.replace('(B, T,', '(B, Q,'))}$"):
        recurrence.query(**draw(recurrence, SIZES) | {argument: value})


@pytest.mark.parametrize(("name", "argument", "message"), WITHOUT)
def test_a_query_needs_every_argument(name: str, argument: str, message: str) -> None:
    recurrence = RECURRENCES[name]
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        recurrence.query(**draw(recurrence, SIZES) | {argument: None})


def test_the_delta_rule_without_rates_is_not_linear_attention() -> None:
    recurrence = RECURRENCES["delta_rule"]
    with pytest.raises(ValueError, match=r"^beta: expected \(B, T, H\), got None$"):
        recurrence.run(**draw(recurrence, SIZES) | {"beta": None})
