"""The configuration from which a stack of blocks is built."""

from dataclasses import dataclass
from typing import Literal

Style = Literal["fewshot", "rl", "plain"]
Carry = Literal["always", "never", "unroll"]


@dataclass(frozen=True)
class StackConfig:
    """A stack of blocks: which core, how large, and how it is joined to the residual path."""

    core: str = "srwm"
    """Name of the core in `srwm.nn.CORES`."""

    d_model: int = 256
    """Width of the residual path and of the output."""

    num_heads: int = 16
    """Heads of a core with matrices; the LSTM and the core without memory have none."""

    num_layers: int = 2
    """Number of blocks."""

    ff_factor: int = 4
    """Width of the feed-forward sub-layer in units of d_model; 0 leaves the sub-layer out."""

    dropout: float = 0.0
    """Dropout on the core's output and within the feed-forward sub-layer."""

    style: Style = "fewshot"
    """How block and core are joined, after the two official code bases.

    Self-referential cores read h: `fewshot` adds LayerNorm(h) to what they answer, `rl` adds h. All others read LayerNorm(h)
    and have h added. DeltaNet normalizes its keys and queries by their sum in `fewshot`, by the sum plus 1e-5 in `rl`.
    `plain` is the core alone, without norm and residual path."""

    input_softmax: bool = False
    """Softmax per head on what goes into a self-referential matrix (the RL code's choice)."""

    beta_init: float = 0.0
    """Mean of the initial beta columns of a self-referential matrix."""

    query_init_std: float = 1.0
    """Standard deviation of the initial query columns of a self-referential matrix, in units of 1/sqrt(E)."""

    carry: Carry = "always"
    """Whether memory lives on from step to step: `always`, `never` (fresh before each step, the ablation), or `unroll`."""

    unroll_length: int | None = None
    """For `carry="unroll"`: after how many steps the memory is fresh again; the count is part of the state."""

    d_input: int | None = None
    """Width of the input where it is not d_model; a plain core that can change the width (the LSTM) takes it."""

    backend: str = "auto"
    """Backend of the operations."""
