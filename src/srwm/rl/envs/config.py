"""The configuration of environments, and how they are built from it."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np

from srwm.errors import UserError
from srwm.ranges import AtLeast
from srwm.rl.envs.interface import VectorEnv
from srwm.rl.envs.procgen import ProcgenConfig, ProcgenEnv
from srwm.rl.envs.vector import RoundRobin
from srwm.training.configuration import NO_OUTCOME, check_values


@dataclass(frozen=True)
class EnvConfig:
    """Environments of one or more tasks: environment i has the task names[i % len(names)]."""

    kind: Literal["procgen", "gymnasium"] = "procgen"
    """library of the environments"""
    names: tuple[str, ...] = ("bigfish", "fruitbot", "maze", "leaper", "plunder", "starpilot")
    """tasks: ProcGen games; or gymnasium ids, also of POPGym and MiniGrid, or `module:id` for ids that a module registers"""
    num_envs: Annotated[int, AtLeast(1)] = 48
    """number of environments, at least one for each task"""
    procgen: ProcgenConfig = field(default_factory=ProcgenConfig)
    """levels of the ProcGen games"""
    workers: Annotated[int, AtLeast(0)] = field(default=0, metadata=NO_OUTCOME)
    """number of worker processes that step gymnasium environments; 0: they run in the training process"""


def build_env(config: EnvConfig, seed: int, resumed_at: int = 0) -> VectorEnv:
    """Build the environments of a configuration.

    Args:
        config: the configuration.
        seed: random seed; equal seeds give equal environments, whatever the number of workers or threads.
        resumed_at: step of the checkpoint that training continues from. Environments whose state cannot be saved then begin
            other episodes than at the start of training.

    Returns:
        The environments.

    Raises:
        UserError: a number is out of its range, a package is missing, a task is unknown, or tasks differ in their EnvSpec.
    """
    check_values(config)
    names = config.names
    if not names or len(set(names)) < len(names):
        raise UserError(f"names: expected one or more different tasks, got {names}")
    if config.num_envs < len(names):
        raise UserError(f"num_envs: expected at least one for each of {len(names)} tasks, got {config.num_envs}")
    if config.kind == "procgen":
        return _procgen(config, seed)
    return _gymnasium(config, (seed, resumed_at) if resumed_at else seed)


def _procgen(config: EnvConfig, seed: int) -> VectorEnv:
    games = len(config.names)
    return RoundRobin(
        [
            ProcgenEnv(name, len(range(k, config.num_envs, games)), config.procgen, own)
            for k, (name, own) in enumerate(zip(config.names, _seeds(seed, games), strict=True))
        ]
    )


def _gymnasium(config: EnvConfig, seed: int | tuple[int, int]) -> VectorEnv:
    try:
        from srwm.rl.envs.gymnasium import LocalEnv
        from srwm.rl.envs.remote import RemoteEnv
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name} is not installed: pip install 'srwm[rl]'") from error
    names = [config.names[row % len(config.names)] for row in range(config.num_envs)]
    seeds = _seeds(seed, config.num_envs)
    if config.workers == 0:
        return LocalEnv(names, seeds)
    workers = min(config.workers, config.num_envs)
    parts: list[RemoteEnv] = []
    try:
        for k in range(workers):
            parts.append(RemoteEnv(names[k::workers], seeds[k::workers]))  # noqa: PERF401
        return RoundRobin(parts)
    except BaseException:
        for part in parts:
            part.close()
        raise


def _seeds(seed: int | tuple[int, int], count: int) -> list[int]:
    return [int(child.generate_state(1)[0]) for child in np.random.SeedSequence(seed).spawn(count)]
