"""The configuration from which a stack of blocks is built."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeAlias

from srwm.ranges import AtLeast, Between

Residual = Literal["norm", "input", "none"]
Carry = Literal["always", "never", "unroll"]
Option: TypeAlias = bool | int | float | str


@dataclass(frozen=True)
class StackConfig:
    """A stack of blocks: which core, how large, and how it is joined to the residual path."""

    core: str = "srwm"
    """Name of the core in `srwm.nn.CORES`."""

    d_model: Annotated[int, AtLeast(1)] = 256
    """Width of the residual path and of the output."""

    num_heads: Annotated[int, AtLeast(1)] = 16
    """Heads of a core with matrices; the LSTM and the core without memory have none."""

    num_layers: Annotated[int, AtLeast(0)] = 2
    """Number of blocks."""

    ff_factor: Annotated[int, AtLeast(0)] = 4
    """Width of the feed-forward sub-layer in units of d_model; 0 leaves the sub-layer out."""

    dropout: Annotated[float, Between(0, 1)] = 0.0
    """Dropout on the core's output and within the feed-forward sub-layer."""

    residual: Residual = "norm"
    """What a block adds to the core's output.

    Self-referential cores read h itself: `norm` adds LayerNorm(h), `input` adds h. All other cores read LayerNorm(h), and
    both add h. `none` is the core alone, without norm and residual path."""

    core_options: dict[str, Option] = field(default_factory=dict)
    """Options of the core by name, such as query_init_std 0.01; an option that is left out has the core's default."""

    carry: Carry = "always"
    """Whether memory lives on from step to step: `always`, `never` (fresh before each step, the ablation), or `unroll`."""

    unroll_length: Annotated[int, AtLeast(1)] | None = None
    """For `carry="unroll"`: after how many steps the memory is fresh again; the count is part of the state."""

    d_input: Annotated[int, AtLeast(1)] | None = None
    """Width of the input where it is not d_model; a core that can change the width (the LSTM) takes it, without residual."""

    backend: str = "auto"
    """Backend of the operations."""

    @classmethod
    def from_earlier(cls, values: dict[str, Any]) -> dict[str, Any]:
        """The fields of a configuration that was written when `style` named two code bases and every core had all options.

        Options that the core does not have had no effect, and those at their defaults are left out.
        """
        earlier, present = {"style", *_SELF_REFERENTIAL}, {"residual", "core_options"}
        if not values.keys() & earlier or values.keys() & present:
            return values
        values = dict(values)
        style, core = values.pop("style", "fewshot"), values.get("core", "srwm")
        former = {name: values.pop(name, default) for name, default in _SELF_REFERENTIAL.items()}
        options: dict[str, Any] = {}
        if core in ("srwm", "sr_delta"):
            options = {name: value for name, value in former.items() if value != _SELF_REFERENTIAL[name]}
        elif core == "deltanet" and style == "rl":
            options = {"eps": 1e-5}
        return values | {"residual": _STYLES.get(style, style), "core_options": options}


_STYLES: dict[Any, Residual] = {"fewshot": "norm", "rl": "input", "plain": "none"}
_SELF_REFERENTIAL: dict[str, Option] = {"input_softmax": False, "beta_init": 0.0, "query_init_std": 1.0}
