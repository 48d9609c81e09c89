"""Training of an agent: act, learn, act, learn..."""

import dataclasses
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeVar

import torch
from lightning_fabric import Fabric
from tqdm import tqdm

from srwm.errors import UserError
from srwm.rl.agent import Agent, AgentConfig
from srwm.rl.config import TrainConfig
from srwm.rl.envs import EnvCrashError, EnvSpec, VectorEnv
from srwm.rl.progress import Progress, mean_returns
from srwm.rl.seeds import process_seed
from srwm.rl.supply import Supply
from srwm.rl.update import Learner
from srwm.training.checkpoint import Checkpoints, save_weights
from srwm.training.clock import Clock
from srwm.training.configuration import check_no_nan, check_seed, check_types
from srwm.training.distributed import all_reduce_budget, build_fabric, mean_over_processes
from srwm.training.finite import NotFiniteError
from srwm.training.runs import MetricsLog, open_run
from srwm.training.stopping import stop_requests

T = TypeVar("T")

WEIGHTS = "weights.safetensors"
"""The trained weights in a run folder; before the end of training the newest are those of the last checkpoint."""
_REPORT_EVERY = 60.0
"""Seconds between two lines on the learning."""


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
    Under `torchrun` each process has environments of its own, of another seed, and learns from `batch_size` unrolls of them;
    gradients are averaged, and the first process writes the folder.
    Raises UserError where the folder exists (or, with `resume`, is no run, has another configuration or is being trained in),
    a checkpoint is corrupt or cannot be saved, the configuration does not fit itself (then there is no folder), or a number
    is not finite (it says which); EnvCrashError where an environment fails.
    """
    check_config(config)
    fabric = build_fabric(accelerator)
    torch.manual_seed(config.seed)
    agent = build_agent(config.agent, env.spec)
    learner = Learner(agent, config, fabric)
    with open_run(fabric, folder, config, resume, first_checkpoint=config.checkpoint_every):
        return _train(learner, env, folder, resume)


def _train(learner: Learner, env: VectorEnv, folder: Path, resume: bool) -> bool:
    agent, config, fabric = learner.agent, learner.config, learner.fabric
    is_rank_zero = fabric.is_global_zero
    checkpoints = Checkpoints(folder / "checkpoints")
    progress = Progress()
    saved = checkpoints.load(agent) if resume else None
    generator = torch.Generator().manual_seed(process_seed(config.seed, fabric.global_rank))
    supply = Supply(agent, env, config.unroll_length, generator, overlap=config.overlap)
    if saved is not None:
        try:
            learner.optimizer.load_state_dict(saved["optimizer"])
            own = _own_part(saved["processes"], fabric)
            progress = Progress(**own["progress"])
            supply.set_state(own["supply"])
            torch.set_rng_state(own["torch_rng"])
        except EnvCrashError:
            raise
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise UserError(f"{checkpoints.folder}: not the state of such a run ({type(error).__name__}: {error})") from error

    first_step, first_frame, session, told = progress.step, progress.frames, time.monotonic(), progress.seconds
    clock = Clock(progress)
    spent, stopping = all_reduce_budget(fabric, config.spent(progress), False)
    with (
        _EpisodeLog(folder, progress.step, env.names) if is_rank_zero else nullcontext() as log,
        tqdm(
            total=config.frames,
            initial=progress.frames,
            unit=" frames",
            unit_scale=True,
            disable=None if is_rank_zero else True,
            dynamic_ncols=True,
        ) as bar,
        stop_requests() as stop,
        supply,
    ):
        while spent < 1 and not stopping:
            learning_rate = config.optimizer.lr * (1 - spent)
            try:
                unrolls = supply.take(config.batch_size).to(fabric.device)
                with supply.ahead(config.batch_size):
                    progress.add(learner.update(unrolls, learning_rate))
            except NotFiniteError as error:
                last = checkpoints.newest()
                kept = (
                    "there is no checkpoint yet" if last is None else f"the last checkpoint, of update {last}, is from before"
                )
                from_env = error.name in ("observations", "rewards")
                cause = "the environment gave them" if from_env else "try a smaller --optimizer.lr in another --run"
                raise UserError(f"update {progress.step + 1}: {error}; {kept}; {cause}") from error
            steps, episodes = supply.news()
            progress.step += 1
            progress.frames += fabric.world_size * steps
            progress.add_episodes(episodes)
            clock.update()
            spent, stopping = all_reduce_budget(fabric, config.spent(progress), stop.is_set())
            bar.update(progress.frames - bar.n)
            if spent >= 1 or progress.step % config.log_every == 0:
                row = mean_over_processes(fabric, progress.pop_means())
                row |= mean_returns(_gather(progress.pop_returns(), fabric), env.names)
                speed = (progress.frames - first_frame) / (time.monotonic() - session)
                bar.set_postfix_str(_told(row))
                if is_rank_zero and (spent >= 1 or progress.seconds - told >= _REPORT_EVERY):
                    told = progress.seconds
                    tqdm.write(f"{progress.frames:,} frames, {told / 60:.1f} min, {speed:.0f} frames/s: {_told(row)}")
                if log is not None:
                    log.write(
                        progress.step,
                        frames=float(progress.frames),
                        minutes=progress.seconds / 60,
                        cpu_minutes=progress.cpu_seconds / 60,
                        frames_per_second=speed,
                        learning_rate=learning_rate,
                        **row,
                    )
            if spent >= 1 or stopping or progress.step % config.checkpoint_every == 0:
                own = {
                    "progress": dataclasses.asdict(progress),
                    "supply": supply.get_state(),
                    "torch_rng": torch.get_rng_state(),
                }
                content = {"optimizer": learner.optimizer.state_dict(), "processes": _gather(own, fabric)}
                if is_rank_zero:
                    checkpoints.save(progress.step, agent, content)
    ended_before = progress.step == first_step and (folder / WEIGHTS).exists()
    if is_rank_zero and spent >= 1 and not ended_before:
        save_weights(folder / WEIGHTS, agent, {"step": progress.step, "frames": progress.frames})
    return spent >= 1


def build_agent(config: AgentConfig, spec: EnvSpec) -> Agent:
    """An agent for these environments. Raises UserError for a configuration that does not fit itself."""
    try:
        return Agent(config, spec)
    except (ValueError, RuntimeError) as error:
        raise UserError(f"agent: {error}") from error


def check_config(config: TrainConfig) -> None:
    """Raise UserError where the configuration does not fit itself."""
    check_types(config)
    check_no_nan(config)
    if config.frames is None and config.minutes is None and config.cpu_minutes is None:
        raise UserError("no end to training: give --frames, --minutes or --cpu-minutes")
    counts = ("frames", "minutes", "cpu_minutes", "unroll_length", "batch_size", "log_every", "checkpoint_every", "reward_clip")
    above: dict[str, float | None] = {name: getattr(config, name) for name in counts}
    above |= {"optimizer.lr": config.optimizer.lr, "optimizer.clip_norm": config.optimizer.clip_norm}
    above |= {"ppo.epochs": config.ppo.epochs, "ppo.clip": config.ppo.clip}
    for name, value in above.items():
        if value is not None and not value > 0:
            raise UserError(f"{name}: expected a number above 0, got {value}")
    shares = {"discount": config.discount, "ppo.lambda": config.ppo.lambda_, "optimizer.alpha": config.optimizer.alpha}
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise UserError(f"{name}: expected a number from 0 to 1, got {share}")
    if not config.optimizer.eps >= 0:
        raise UserError(f"optimizer.eps: expected 0 or more, got {config.optimizer.eps}")
    check_seed(config.seed)
    if config.algorithm == "ppo" and not 1 <= config.ppo.minibatches <= config.batch_size:
        raise UserError(f"ppo.minibatches: expected 1 to batch_size = {config.batch_size}, got {config.ppo.minibatches}")


class _EpisodeLog(MetricsLog):
    """Metrics of a run in these tasks: one column of returns each."""

    def __init__(self, folder: Path, last_step: int, tasks: tuple[str, ...]) -> None:
        losses = ("policy_loss", "value_loss", "entropy", "gradient_norm")
        diagnostics = ("explained_variance", "approx_kl", "clip_fraction")
        returns = ("episodes", "return", *(f"return_{task}" for task in sorted(set(tasks))))
        self._begin(
            folder,
            last_step,
            ("frames", "minutes", "cpu_minutes", "frames_per_second", "learning_rate", *losses, *diagnostics, *returns),
        )


def _gather(own: T, fabric: Fabric) -> list[T]:
    """What each process has, in the first one; nothing elsewhere."""
    if fabric.world_size == 1:
        return [own]
    parts: list[T] | None = [own] * fabric.world_size if fabric.is_global_zero else None
    torch.distributed.gather_object(own, parts)
    return parts or []


def _own_part(parts: list[dict[str, Any]], fabric: Fabric) -> dict[str, Any]:
    if len(parts) != fabric.world_size:
        raise UserError(f"the run was begun by {len(parts)} processes and can only go on with as many, not {fabric.world_size}")
    return parts[fabric.global_rank]


def _told(row: dict[str, Any]) -> str:
    returns = ", ".join(f"{name.removeprefix('return_')} {row[name]:.2f}" for name in row if name.startswith("return_"))
    return f"mean return {returns}" if returns else f"entropy {row['entropy']:.2f}"
