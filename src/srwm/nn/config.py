"""The configuration from which a stack of blocks is built."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeAlias

from srwm.ranges import AtLeast, Between

Residual = Literal["norm", "input", "none"]
Carry = Literal["always", "never", "unroll"]
Option: TypeAlias = bool | int | float | str


@dataclass(frozen=True)
class StackConfig:
    """A stack of blocks: the core, the sizes and the residual connection."""

    core: str = "srwm"
    """Name of the core in `srwm.nn.CORES`."""

    d_model: Annotated[int, AtLeast(1)] = 256
    """Width of the residual stream and of the output."""

    num_heads: Annotated[int, AtLeast(1)] = 16
    """Number of heads; unused by the LSTM and by the core without memory."""

    num_layers: Annotated[int, AtLeast(0)] = 2
    """Number of blocks."""

    ff_factor: Annotated[int, AtLeast(0)] = 4
    """Width of the feed-forward sub-layer in units of d_model; 0 leaves the sub-layer out."""

    dropout: Annotated[float, Between(0, 1)] = 0.0
    """Dropout on the core's output and within the feed-forward sub-layer."""

    residual: Residual = "norm"
    """Residual connection of a block with input h; `none`: the core alone, without norm and residual connection.

    Self-referential cores read h: `norm` adds LayerNorm(h) to their output, `input` adds h.

    All other cores read LayerNorm(h), and both `norm` and `input` add h."""

    core_options: dict[str, Option] = field(default_factory=dict)
    """Options of the core by name, such as query_init_std 0.01; options that are not given have the core's defaults."""

    carry: Carry = "always"
    """When the state is kept between steps: `always`, `never` (an ablation), or `unroll` (reset every unroll_length steps)."""

    unroll_length: Annotated[int, AtLeast(1)] | None = None
    """For `carry="unroll"`: number of steps between two resets of the state; the step count is part of the state."""

    d_input: Annotated[int, AtLeast(1)] | None = None
    """Width of the input; None: d_model. Another width needs a core that can change it (the LSTM) and residual `none`."""

    backend: str = "auto"
    """Backend of the operations."""

    @classmethod
    def from_earlier(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Convert the fields of a configuration from before `residual` and `core_options` existed.

        At that time `style` named two code bases, and every core had all options. Options that the core does not have had no
        effect, and are left out, as are those at their defaults.

        Args:
            values: the fields as JSON has them.

        Returns:
            The fields of this version.
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
