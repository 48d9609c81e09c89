from collections.abc import Callable

import pytest
import torch

from srwm.nn import CORES, Layer, Option, Stack, StackConfig, build_core

D_MODEL = 6
STATELESS = ["fake_srwm", "none"]
CARRYING = [name for name in CORES if name not in STATELESS]
CARRYING += ["stack of srwm", "stack of sr_delta, input", "stack of lstm, none"]
WITH_OPTIONS: dict[str, tuple[str, dict[str, Option]]] = {
    "deltanet, reflecting": ("deltanet", {"beta_max": 2.0, "feature_map": "l2"}),
    "deltaproduct of three": ("deltaproduct", {"num_factors": 3}),
    "transformer of three steps": ("transformer", {"context": 3}),
    "self_modifying_memory in chunks": ("self_modifying_memory", {"chunk_size": 3}),
    "self_modifying_memory of static keys": ("self_modifying_memory", {"static_keys": True, "decay": False}),
}
CARRYING += WITH_OPTIONS
LAYERS = [*CARRYING, *STATELESS, "never", "unroll"]

MakeLayer = Callable[[str], Layer]


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def make_layer() -> MakeLayer:
    """The layer of this name, d_model 6, with weights that are the same in every test."""

    def make(name: str) -> Layer:
        torch.manual_seed(0)
        small = {"d_model": D_MODEL, "num_heads": 2, "num_layers": 2, "ff_factor": 2}
        match name:
            case "stack of srwm":
                return Stack(StackConfig(**small))
            case "stack of sr_delta, input":
                return Stack(StackConfig(**small, core="sr_delta", residual="input", core_options={"input_softmax": True}))
            case "stack of lstm, none":
                return Stack(StackConfig(**small | {"ff_factor": 0}, core="lstm", residual="none"))
            case "never":
                return Stack(StackConfig(**small, carry="never"))
            case "unroll":
                return Stack(StackConfig(**small, core="deltanet", carry="unroll", unroll_length=3))
        core, options = WITH_OPTIONS.get(name, (name, {}))
        return build_core(StackConfig(**small, core=core, core_options=options))

    return make


@pytest.fixture(params=LAYERS)
def layer(request: pytest.FixtureRequest, make_layer: MakeLayer) -> Layer:
    """Every core, and stacks of each residual and way to carry."""
    return make_layer(request.param)


@pytest.fixture(params=CARRYING)
def carrying_layer(request: pytest.FixtureRequest, make_layer: MakeLayer) -> Layer:
    """Those whose memory lives on from step to step."""
    return make_layer(request.param)
