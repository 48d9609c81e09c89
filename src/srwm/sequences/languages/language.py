"""What defines a language."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from srwm.data.draws import Draws


class Language(NamedTuple):
    """Strings over an alphabet, and a class for each of their prefixes."""

    alphabet: tuple[str, ...]
    """the symbols, which are numbers from 0"""
    classes: tuple[str, ...]
    """what a target can be"""
    draw: Callable[[Draws, Tensor], Tensor]
    """strings of these lengths (B,), as symbols (B, longest); what is behind their end counts for nothing"""
    label: Callable[[Tensor], Tensor]
    """the target of each prefix: symbols (B, T) -> classes (B, T)"""
    unit: int = 1
    """lengths of strings are multiples of this"""
    is_unique: bool = False
    """whether there is one string of each length"""
    is_word: bool = False
    """whether strings are words over a group, measured at fixed lengths and by token; others in bins and by string"""
