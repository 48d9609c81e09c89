"""Options of the automaton."""

from dataclasses import dataclass
from typing import Annotated, Literal

from srwm.ranges import AtLeast


@dataclass(frozen=True)
class AutomatonConfig:
    """How episodes of the automaton are drawn."""

    symbols: Literal["vectors", "drawings"] = "vectors"
    """what symbols are, new in every episode: random vectors, or characters of Omniglot, another drawing at each use"""
    groups: tuple[Literal["z2", "z3", "s3", "a5"], ...] = ("z2", "z3", "s3")
    """groups, one of which is drawn for each episode"""
    shots: Annotated[int, AtLeast(1)] = 1
    """how often each symbol is shown with its element before the word; those of a smaller group more often"""
    width: Annotated[int, AtLeast(1)] = 32
    """numbers in a random vector"""
    pool: Annotated[int, AtLeast(1)] = 24
    """characters that all episodes of a batch share; each drawing is embedded once"""
    channels: Annotated[int, AtLeast(1)] = 32
    """channels of the Conv-4 stem for drawings"""
