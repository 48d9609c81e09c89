"""Named configurations, and the cores that `--core` can select."""

from dataclasses import replace

from srwm.nn import StackConfig, replace_core
from srwm.rl.agent import AgentConfig
from srwm.rl.config import OptimizerConfig, PPOConfig, TrainConfig
from srwm.rl.envs import EnvConfig, ProcgenConfig

_PAPER_AGENT = AgentConfig(
    channels=(16, 32, 32),
    features=256,
    stack=StackConfig(
        core="srwm", d_model=128, num_heads=8, num_layers=2, ff_factor=4, residual="input", core_options={"input_softmax": True}
    ),
)

_PAPER_EASY = TrainConfig(
    env=EnvConfig(
        kind="procgen",
        names=("bigfish", "fruitbot", "maze", "leaper", "plunder", "starpilot"),
        num_envs=48,
        procgen=ProcgenConfig(distribution_mode="easy", num_levels=200, start_level=0),
    ),
    agent=_PAPER_AGENT,
    algorithm="impala",
    unroll_length=50,
    batch_size=32,
    overlap=True,
    discount=0.99,
    reward_clip=1.0,
    value_cost=0.25,
    entropy_cost=0.01,
    optimizer=OptimizerConfig(name="rmsprop", lr=6e-4, alpha=0.99, eps=0.01, clip_norm=40.0),
    frames=300_000_000,
)

_PAPER_MEMORY = replace(
    _PAPER_EASY,
    env=EnvConfig(
        kind="procgen",
        names=("dodgeball", "heist", "maze", "miner"),
        num_envs=48,
        procgen=ProcgenConfig(distribution_mode="memory", num_levels=500, start_level=0),
    ),
)

_QUICK_MEMORY = TrainConfig(
    env=EnvConfig(kind="gymnasium", names=("popgym-RepeatPreviousEasy-v0",), num_envs=32),
    agent=AgentConfig(
        features=64,
        stack=StackConfig(
            core="srwm",
            d_model=64,
            num_heads=4,
            num_layers=2,
            ff_factor=2,
            residual="input",
            core_options={"query_init_std": 0.01},
        ),
    ),
    algorithm="ppo",
    ppo=PPOConfig(clip=0.2, lambda_=0.9, epochs=4, minibatches=4),
    unroll_length=52,
    batch_size=32,
    discount=0.5,
    reward_clip=None,
    value_cost=0.5,
    entropy_cost=0.01,
    optimizer=OptimizerConfig(name="adam", lr=1e-3, eps=1e-8, clip_norm=1.0),
    minutes=4.5,
    checkpoint_every=20,
)

_CPU_REPEAT_PREVIOUS = replace(_QUICK_MEMORY, minutes=None, cpu_minutes=5.0)

_CPU_REPEAT_FIRST = replace(
    _CPU_REPEAT_PREVIOUS,
    env=replace(_CPU_REPEAT_PREVIOUS.env, names=("popgym-RepeatFirstEasy-v0",)),
    entropy_cost=0.03,
)

_CPU_MINIGRID = replace(
    _CPU_REPEAT_FIRST,
    env=EnvConfig(kind="gymnasium", names=("MiniGrid-MemoryS7-v0",), num_envs=64),
    agent=replace(_CPU_REPEAT_FIRST.agent, features=128),
    ppo=PPOConfig(clip=0.2, lambda_=0.95, epochs=4, minibatches=8),
    unroll_length=32,
    batch_size=64,
    discount=0.98,
    entropy_cost=0.02,
)

_CPU_EASY = replace(
    _PAPER_EASY,
    env=replace(_PAPER_EASY.env, num_envs=48),
    agent=replace(
        _PAPER_AGENT,
        precision="bfloat16",
        stack=replace(_PAPER_AGENT.stack, core_options={"query_init_std": 0.01}),
    ),
    algorithm="ppo",
    ppo=PPOConfig(clip=0.2, lambda_=0.95, epochs=1, minibatches=6),
    unroll_length=32,
    batch_size=48,
    overlap=False,
    value_cost=0.5,
    optimizer=OptimizerConfig(name="adam", lr=5e-4, eps=1e-5, clip_norm=0.5),
    frames=3_000_000,
)

_CPU_STARPILOT = replace(_CPU_EASY, env=replace(_CPU_EASY.env, names=("starpilot",)))

_CPU_MEMORY = replace(_CPU_EASY, env=replace(_PAPER_MEMORY.env, num_envs=48))

PRESETS: dict[str, tuple[str, TrainConfig]] = {
    "quick-memory": (
        "repeat the card of four steps ago (POPGym RepeatPrevious): a rising curve in under five minutes on one or two threads",
        _QUICK_MEMORY,
    ),
    "cpu-memory-repeat-previous": (
        "repeat the card of four steps ago (POPGym RepeatPreviousEasy), five minutes of one thread",
        _CPU_REPEAT_PREVIOUS,
    ),
    "cpu-memory-repeat-first": (
        "repeat the first card of an episode (POPGym RepeatFirstEasy), five minutes of one thread",
        _CPU_REPEAT_FIRST,
    ),
    "cpu-memory-minigrid": (
        "remember an object, walk and choose (MiniGrid MemoryS7), five minutes of one thread",
        _CPU_MINIGRID,
    ),
    "cpu-procgen-starpilot": (
        "ProcGen starpilot, 200 easy levels, PPO: three million frames, for one or two threads",
        _CPU_STARPILOT,
    ),
    "cpu-procgen-easy6": (
        "six ProcGen games at once, 200 easy levels each, PPO: three million frames, for one or two threads",
        _CPU_EASY,
    ),
    "cpu-procgen-memory4": (
        "four ProcGen games of the memory distribution, 500 levels each, PPO: three million frames, for one or two threads",
        _CPU_MEMORY,
    ),
    "paper-procgen-easy6": (
        "six ProcGen games at once as published (Irie et al., 2022): 300 million frames, days on a CPU",
        _PAPER_EASY,
    ),
    "paper-procgen-memory4": (
        "four ProcGen games of the memory distribution as published (Irie et al., 2022): 300 million frames, days on a CPU",
        _PAPER_MEMORY,
    ),
}

CORES: dict[str, str] = {
    "srwm": "the self-referential weight matrix",
    "srwm-no-carry": "ablation: the same, with its state reset before every step",
    "fake_srwm": "ablation: the same matrix without self-modification",
    "sr_delta": "a self-referential matrix that programs a delta-rule memory",
    "deltanet": "fast weights with the delta rule",
    "linear_transformer": "fast weights with the additive rule (linear attention)",
    "recurrent_delta": "delta-rule fast weights whose slow network also reads the previous output",
    "lstm": "one LSTM layer of twice the width",
    "none": "no memory: policy and value are computed from features and last reward",
}


def with_core(config: TrainConfig, name: str) -> TrainConfig:
    """The configuration with another core, in the sizes of the paper.

    Args:
        config: the configuration of a preset.
        name: one of `CORES`.

    Returns:
        The configuration.

    Raises:
        KeyError: the name is unknown.
    """
    if name not in CORES:
        raise KeyError(name)
    stack, width = config.agent.stack, config.agent.features + 1
    match name:
        case "lstm":
            stack = StackConfig(core="lstm", d_model=2 * stack.d_model, num_layers=1, ff_factor=0, residual="none")
        case "none":
            stack = StackConfig(core="none", d_model=width, num_layers=1, ff_factor=0, residual="none")
        case "srwm-no-carry":
            stack = replace(stack, core="srwm", carry="never")
        case "deltanet":
            stack = replace(stack, core="deltanet", core_options={"eps": 1e-5})
        case _:
            stack = replace_core(stack, name)
    return replace(config, agent=replace(config.agent, stack=stack))
