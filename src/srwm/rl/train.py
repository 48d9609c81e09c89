"""Training of an agent: act, learn, act, learn..."""

import dataclasses
import time
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from srwm.data import UserError
from srwm.data.files import remove_leftovers
from srwm.fewshot.checkpoint import Checkpoints, save_weights
from srwm.fewshot.distributed import build_fabric
from srwm.fewshot.progress import stop_requests
from srwm.fewshot.runs import MetricsLog, check_same_config, create_run
from srwm.rl.agent import Agent, AgentConfig
from srwm.rl.config import TrainConfig
from srwm.rl.envs import EnvSpec, VectorEnv
from srwm.rl.finite import NotFiniteError
from srwm.rl.progress import Progress
from srwm.rl.rollout import Actor, Unrolls
from srwm.rl.update import Learner

WEIGHTS = "weights.safetensors"
"""The trained weights in a run folder; before the end of training the newest are those of the last checkpoint."""


def train(
    config: TrainConfig,
    env: VectorEnv,
    folder: Path,
    *,
    resume: bool = False,
    accelerator: str = "auto",
) -> bool:
    """Train in the run folder `folder`: True at the end of the budget, False where Ctrl-C or SIGTERM came before.

    After either, or a kill at any moment, `resume=True` goes on from the last checkpoint as if nothing had happened: with a
    budget in frames and environments that can tell their state, to bit-identical weights; environments that cannot begin new
    episodes. `env` is built from the configuration and the caller's to close.
    Raises UserError where the folder exists (or, with `resume`, is no run or has another configuration), a checkpoint is
    corrupt or cannot be saved, the configuration does not fit itself, or a number is not finite (it says which); EnvCrashError
    where an environment fails.
    """
    check_config(config)
    fabric = build_fabric(accelerator)
    if fabric.world_size > 1:
        raise UserError("reinforcement learning runs in one process; start it without torchrun")
    if resume:
        check_same_config(folder, config)
        for part in (folder, folder / "checkpoints"):
            remove_leftovers(part)
    else:
        create_run(folder, config)

    torch.manual_seed(config.seed)
    agent = build_agent(config.agent, env.spec)
    generator = torch.Generator().manual_seed(config.seed)
    learner = Learner(agent, config, fabric, generator)
    checkpoints = Checkpoints(folder / "checkpoints")
    progress, waiting = Progress(), []
    saved = checkpoints.load(agent) if resume else None
    actor = Actor(agent, env, config.unroll_length, generator)
    if saved is not None:
        progress = Progress(**saved["progress"])
        learner.optimizer.load_state_dict(saved["optimizer"])
        torch.set_rng_state(saved["torch_rng"])
        actor.set_state(saved["actor"])
        waiting = [Unrolls(*saved["waiting"])] if saved["waiting"] is not None else []

    begun, first_frame = time.monotonic() - progress.seconds, progress.frames
    session = time.monotonic()
    spent = config.spent(progress.frames, progress.seconds)
    with (
        _EpisodeLog(folder, progress.step, env.names) as log,
        tqdm(
            total=config.frames, initial=progress.frames, unit=" frames", unit_scale=True, disable=None, dynamic_ncols=True
        ) as bar,
        stop_requests() as stop,
    ):
        while spent < 1 and not stop.is_set():
            try:
                while sum(len(part.actions) for part in waiting) < config.batch_size:
                    agent.eval()
                    unrolls, episodes = actor.unroll()
                    waiting.append(unrolls)
                    progress.frames += unrolls.actions.numel()
                    progress.add_episodes(episodes)
                queue = Unrolls.join(waiting)
                batch, left = queue.select(slice(config.batch_size)), queue.select(slice(config.batch_size, None))
                waiting = [left] if len(left.actions) else []
                learning_rate = config.optimizer.lr * (1 - spent)
                numbers = learner.update(batch.to(fabric.device), learning_rate)
            except NotFiniteError as error:
                kept = f"the checkpoints in {folder / 'checkpoints'} are from before"
                raise UserError(f"update {progress.step + 1}: {error}; {kept}; try a smaller --optimizer.lr") from error
            progress.step += 1
            progress.add(numbers)
            progress.seconds = time.monotonic() - begun
            spent = config.spent(progress.frames, progress.seconds)
            bar.update(progress.frames - bar.n)
            ending = spent >= 1 or stop.is_set()
            if ending or progress.step % config.log_every == 0:
                row = progress.take_means()
                speed = (progress.frames - first_frame) / (time.monotonic() - session)
                bar.set_postfix_str(_told(row))
                log.write(
                    progress.step,
                    frames=progress.frames,
                    minutes=progress.seconds / 60,
                    frames_per_second=speed,
                    learning_rate=learning_rate,
                    **row,
                )
            if ending or progress.step % config.checkpoint_every == 0:
                content = {
                    "progress": dataclasses.asdict(progress),
                    "optimizer": learner.optimizer.state_dict(),
                    "torch_rng": torch.get_rng_state(),
                    "actor": actor.get_state(),
                    "waiting": tuple(waiting[0]) if waiting else None,
                }
                checkpoints.save(progress.step, agent, content)
    if spent >= 1:
        save_weights(folder / WEIGHTS, agent, {"step": progress.step, "frames": progress.frames})
    return spent >= 1


def build_agent(config: AgentConfig, spec: EnvSpec) -> Agent:
    """An agent for these environments. Raises UserError for a configuration that does not fit itself."""
    try:
        return Agent(config, spec)
    except ValueError as error:
        raise UserError(f"agent: {error}") from error


def check_config(config: TrainConfig) -> None:
    """Raise UserError where the configuration does not fit itself."""
    if config.frames is None and config.minutes is None:
        raise UserError("no end to training: give --frames or --minutes")
    for name in ("frames", "minutes", "unroll_length", "batch_size", "log_every", "checkpoint_every"):
        value = getattr(config, name)
        if value is not None and value <= 0:
            raise UserError(f"{name}: expected a number above 0, got {value}")
    if config.algorithm not in ("impala", "ppo"):
        raise UserError(f"algorithm: expected impala or ppo, got {config.algorithm!r}")
    if config.algorithm == "ppo" and not 1 <= config.ppo.minibatches <= config.batch_size:
        raise UserError(f"ppo.minibatches: expected 1 to batch_size = {config.batch_size}, got {config.ppo.minibatches}")


class _EpisodeLog(MetricsLog):
    """Metrics of a run in these tasks: one column of returns each."""

    def __init__(self, folder: Path, last_step: int, tasks: tuple[str, ...]) -> None:
        losses = ("policy_loss", "value_loss", "entropy", "gradient_norm")
        returns = ("episodes", "return", *(f"return_{task}" for task in sorted(set(tasks))))
        self._begin(folder, last_step, ("frames", "minutes", "frames_per_second", "learning_rate", *losses, *returns))


def _told(row: dict[str, Any]) -> str:
    names = [name for name in row if name.startswith("return_")] or ["entropy"]
    return ", ".join(f"{name.removeprefix('return_')} {row[name]:.2f}" for name in names)
