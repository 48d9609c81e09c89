"""The agent's stems, and how its parts are joined."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from srwm.rl.agent import Agent, AgentConfig
from srwm.rl.envs import EnvSpec

IMAGES = EnvSpec((3, 64, 64), "uint8", 15)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def frames(batch: int, steps: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    images = torch.randint(256, (batch, steps, 3, 64, 64), dtype=torch.uint8)
    return images, torch.randn(batch, steps), torch.rand(batch, steps) < 0.2


def test_sizes_of_the_paper() -> None:
    agent = Agent(AgentConfig(), IMAGES)
    assert sum(p.numel() for p in agent.stem.parameters()) == 97_600 + 2048 * 256 + 256
    assert agent.core_input.weight.shape == (128, 257)
    assert agent.core.blocks[0].core.weight.shape == (8, 16, 52)
    logits, values, _ = agent(*frames(2, 3))
    assert logits.shape == (2, 3, 15)
    assert values.shape == (2, 3)


def test_rewards_are_clipped_on_the_way_in() -> None:
    agent = Agent(AgentConfig(), IMAGES)
    images, _, firsts = frames(1, 2)
    far, near = (agent(images, torch.full((1, 2), reward), firsts)[0] for reward in (30.0, 1.0))
    assert_close(far, near)
    assert (agent(images, torch.zeros(1, 2), firsts)[0] != near).any()


def test_pieces_and_small_passes_through_the_stem_change_nothing() -> None:
    agent = Agent(AgentConfig(), IMAGES)
    images, rewards, firsts = frames(2, 5)
    whole, _, _ = agent(images, rewards, firsts)
    agent.config = replace(agent.config, frames_at_once=3)
    start, _, state = agent(images[:, :2], rewards[:, :2], firsts[:, :2])
    end, _, _ = agent(images[:, 2:], rewards[:, 2:], firsts[:, 2:], state)
    assert_close(torch.cat([start, end], 1), whole, rtol=1e-4, atol=1e-5)


def test_bfloat16_is_the_stem_s_alone() -> None:
    agent = Agent(AgentConfig(), IMAGES)
    exact, _, _ = agent(*(given := frames(2, 3)))
    agent.config = replace(agent.config, precision="bfloat16")
    rough, _, _ = agent(*given)
    assert rough.dtype == torch.float32
    error = ((rough - exact).norm() / exact.norm()).item()
    assert 0 < error < 0.05


def test_observations_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="observation_shape"):
        Agent(AgentConfig(), EnvSpec((3, 4), "float32", 2))


def test_images_are_read_as_numbers_from_0_to_1() -> None:
    agent = Agent(AgentConfig(), IMAGES)
    images, _, _ = frames(1, 2)
    by_hand = agent.stem.linear(agent.stem.stem(images[0].float() / 255)).relu()
    assert_close(agent.embed(images[0]), by_hand, rtol=1e-4, atol=1e-5)


def test_a_thread_that_acts_meanwhile_changes_no_gradient_in_bfloat16() -> None:
    agent = Agent(replace(AgentConfig(), precision="bfloat16", frames_at_once=2), IMAGES)
    other = Agent(agent.config, IMAGES)
    images, rewards, firsts = frames(2, 4)

    def act(*_) -> None:
        other.embed(images[0])

    def gradients() -> list[torch.Tensor]:
        logits, _, _ = agent(images, rewards, firsts)
        return list(torch.autograd.grad(logits.square().sum(), list(agent.stem.parameters())))

    alone = gradients()
    with ThreadPoolExecutor(1) as acting:
        agent.stem.register_forward_hook(lambda *_: acting.submit(act).result())
        beside = gradients()
    assert all((a == b).all() for a, b in zip(alone, beside, strict=True))
