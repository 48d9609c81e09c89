"""Formal languages and words over groups: strings, and the target at every position."""

from srwm.sequences.languages.language import Language
from srwm.sequences.languages.registry import LANGUAGES
from srwm.sequences.languages.sample import draw_strings

__all__ = ["LANGUAGES", "Language", "draw_strings"]
