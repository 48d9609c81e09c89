"""Training reaches the self-modification: what only q, k and beta decide has a gradient, and it is the right one."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from srwm.nn import StackConfig, map_state
from srwm.rl.agent import Agent, AgentConfig
from srwm.rl.envs import EnvSpec
from srwm.rl.losses import impala_losses
from srwm.rl.rollout import Unrolls
from srwm.rl.vtrace import Returns

HEADS, E = 2, 4
SPEC = EnvSpec((5,), "float32", 3)
STACK = StackConfig(
    d_model=HEADS * E,
    num_heads=HEADS,
    ff_factor=2,
    residual="input",
    core_options={"input_softmax": True},
    backend="reference",
)
CONFIG = AgentConfig(features=8, stack=STACK)
COLUMNS = {"q": slice(E, 2 * E), "k": slice(2 * E, 3 * E), "beta": slice(3 * E, 3 * E + 4)}


@pytest.fixture(scope="module")
def unroll() -> tuple[Unrolls, Returns]:
    """One unroll with resets in the middle, from a core that has already changed; targets and advantages are constants."""
    torch.manual_seed(1)
    batch, steps = 3, 12
    firsts = torch.rand(batch, steps + 1) < 0.15
    state = tuple(0.3 * torch.randn(batch, HEADS, E, 3 * E + 4, dtype=torch.float64) for _ in range(STACK.num_layers))
    frames = torch.randn(batch, steps + 1, 5, dtype=torch.float64)
    rewards, log_probs = torch.randn(batch, steps + 1).double(), torch.randn(batch, steps).double()
    actions = torch.randint(3, (batch, steps))
    returns = Returns(torch.randn(batch, steps).double(), torch.randn(batch, steps).double())
    values = torch.randn(batch, steps + 1).double()
    return Unrolls(frames, rewards, firsts, actions, log_probs, values, state), returns


def agent(config: AgentConfig = CONFIG) -> Agent:
    torch.manual_seed(0)
    return Agent(config, SPEC).double()


def weights(agent: Agent) -> list[Tensor]:
    return [block.core.weight for block in agent.core.blocks]


def loss(agent: Agent, unroll: tuple[Unrolls, Returns]) -> Tensor:
    unrolls, returns = unroll
    logits, values, _ = agent(unrolls.observations, unrolls.rewards, unrolls.firsts, unrolls.state)
    return impala_losses(logits[:, :-1], values[:, :-1], unrolls.actions, returns).total(0.25, 0.01)


def gradients(agent: Agent, unroll: tuple[Unrolls, Returns]) -> list[Tensor]:
    return list(torch.autograd.grad(loss(agent, unroll), weights(agent)))


def central_difference(f: Callable[[], Tensor], weight: Tensor, direction: Tensor, h: float = 1e-5) -> float:
    sides = []
    for sign in (1, -1):
        weight.data += sign * h * direction
        sides.append(f().item())
        weight.data -= sign * h * direction
    return (sides[0] - sides[1]) / (2 * h)


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("layer", range(STACK.num_layers))
@torch.no_grad()
def test_gradients_of_the_self_modification_are_those_of_the_loss(unroll, layer: int, name: str) -> None:
    model = agent()
    weight = weights(model)[layer]
    with torch.enable_grad():
        gradient = gradients(model, unroll)[layer][..., COLUMNS[name]]
    assert (gradient != 0).all()
    generator = torch.Generator().manual_seed(2)
    for _ in range(4):
        direction = torch.zeros_like(weight)
        direction[..., COLUMNS[name]] = torch.randn(gradient.shape, generator=generator, dtype=torch.float64)
        difference = central_difference(lambda: loss(model, unroll), weight, direction)
        expected = (gradient * direction[..., COLUMNS[name]]).sum().item()
        assert abs(difference - expected) <= 1e-6 * gradient.norm().item()


def test_native_float32_gradients_agree(unroll) -> None:
    exact = gradients(agent(), unroll)
    native = agent(replace(CONFIG, stack=replace(STACK, backend="native"))).float()
    unrolls, returns = (map_state(lambda part: part.float() if part.is_floating_point() else part, part) for part in unroll)
    for got, wanted in zip(gradients(native, (Unrolls(*unrolls), Returns(*returns))), exact, strict=True):
        for columns in COLUMNS.values():
            error = (got.double() - wanted)[..., columns].norm() / wanted[..., columns].norm()
            assert error < 1e-4


def test_detached_at_every_step_nothing_reaches_the_self_modification(unroll) -> None:
    for gradient in gradients(agent(replace(CONFIG, detach_every_step=True)), unroll):
        assert (gradient[..., :E] != 0).all()
        assert (gradient[..., E:] == 0).all()


def test_detaching_changes_gradients_alone(unroll) -> None:
    torch.testing.assert_close(loss(agent(replace(CONFIG, detach_every_step=True)), unroll), loss(agent(), unroll))
