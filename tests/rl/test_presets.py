"""The published presets have the published values, and every preset builds its agent with every core."""

from dataclasses import replace

import pytest

from srwm.nn import StackConfig
from srwm.rl.agent import Agent
from srwm.rl.config import OptimizerConfig
from srwm.rl.envs import EnvSpec, ProcgenConfig
from srwm.rl.presets import CORES, PRESETS, with_core
from srwm.rl.train import check_config
from srwm.rl.update import build_optimizer

GAMES = {
    "paper-procgen-easy6": ("bigfish", "fruitbot", "maze", "leaper", "plunder", "starpilot"),
    "paper-procgen-memory4": ("dodgeball", "heist", "maze", "miner"),
}
LEVELS = {"paper-procgen-easy6": ProcgenConfig("easy", 200, 0), "paper-procgen-memory4": ProcgenConfig("memory", 500, 0)}
PROCGEN = EnvSpec((3, 64, 64), "uint8", 15)
VECTORS = EnvSpec((7,), "float32", 4)


@pytest.mark.parametrize("name", GAMES)
def test_published_values(name) -> None:
    config = PRESETS[name][1]
    assert (config.env.kind, config.env.names, config.env.num_envs) == ("procgen", GAMES[name], 48)
    assert config.env.procgen == LEVELS[name]
    assert (config.algorithm, config.batch_size, config.unroll_length, config.frames) == ("impala", 32, 50, 300_000_000)
    assert (config.discount, config.reward_clip, config.value_cost, config.entropy_cost) == (0.99, 1.0, 0.25, 0.01)
    assert config.optimizer == OptimizerConfig("rmsprop", lr=6e-4, alpha=0.99, eps=0.01, clip_norm=40.0)
    assert (config.agent.channels, config.agent.features, config.agent.precision) == ((16, 32, 32), 256, "float32")
    stack = StackConfig(
        "srwm",
        d_model=128,
        num_heads=8,
        num_layers=2,
        ff_factor=4,
        residual="input",
        core_options={"input_softmax": True},
    )
    assert config.agent.stack == stack


@pytest.mark.parametrize(("core", "width", "layers"), [("lstm", 256, 1), ("none", 257, 1), ("deltanet", 128, 2)])
def test_other_cores_have_the_published_sizes(core, width, layers) -> None:
    stack = with_core(PRESETS["paper-procgen-easy6"][1], core).agent.stack
    assert (stack.core, stack.d_model, stack.num_layers) == (core, width, layers)


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_builds_its_agent_with_every_core(name, core) -> None:
    config = with_core(PRESETS[name][1], core)
    check_config(config)
    agent = Agent(config.agent, PROCGEN if config.env.kind == "procgen" else VECTORS)
    assert build_optimizer(agent, config.optimizer).param_groups[0]["lr"] == config.optimizer.lr


def test_a_budget_can_be_put_in_another_s_place() -> None:
    check_config(replace(PRESETS["paper-procgen-easy6"][1], frames=None, cpu_minutes=2))
