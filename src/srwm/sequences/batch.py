"""Sequences as models see them."""

from typing import Literal, NamedTuple

from torch import Tensor

Purpose = Literal["train", "val", "test"]
PURPOSES: tuple[Purpose, ...] = ("train", "val", "test")
"""What sequences are drawn for. Those of different purposes are different."""
NO_TARGET = -1


class Batch(NamedTuple):
    """B sequences of T steps; shorter ones are padded at their end, where there is no target."""

    tokens: Tensor
    """symbols of the alphabet, or rows of `items` (B, T) int64"""
    targets: Tensor
    """classes (B, T) int64; -1: none"""
    items: Tensor | None = None
    """what tokens stand for, where there is no alphabet: vectors (I, F) float32 or drawings (I, 1, H, W) uint8"""
    labels: Tensor | None = None
    """elements that are shown with the tokens (B, T) int64, or the number of elements where none is shown"""


class Bin(NamedTuple):
    """Sequences on which a model is measured, by their length."""

    shortest: int
    longest: int
    group: str | None = None
    """group of the automaton; None: any"""
