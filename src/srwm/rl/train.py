"""The training loop of an agent."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from lightning_fabric import Fabric

from srwm.errors import UserError
from srwm.rl.agent import Agent, AgentConfig
from srwm.rl.chance import Chance, mean_chance
from srwm.rl.config import TrainConfig
from srwm.rl.envs import EnvCrashError, EnvSpec, VectorEnv
from srwm.rl.progress import EpisodeReturns, mean_returns
from srwm.rl.resume import check_unrolls, rollout_state
from srwm.rl.rollout import RolloutWorker
from srwm.rl.seeds import process_seed
from srwm.rl.update import Learner
from srwm.training.chance import ChanceWatch
from srwm.training.checkpoint import Checkpoints, reading_state
from srwm.training.configuration import check_values
from srwm.training.distributed import build_fabric, mean_over_processes
from srwm.training.finite import NotFiniteError
from srwm.training.modes import float32_defaults
from srwm.training.optimizer import load_optimizer
from srwm.training.precision import bfloat16_warning
from srwm.training.progress import Progress
from srwm.training.run_loop import RunLoop
from srwm.training.runs import open_run
from srwm.training.weights import save_weights

T = TypeVar("T")

WEIGHTS = "weights.safetensors"
"""File of the final weights in a run folder; before the end of training the last checkpoint has the newest weights."""
_PATIENCE = 0.2
"""Fraction of the budget after which mean returns at chance cause a warning."""


def train(
    config: TrainConfig,
    env: VectorEnv,
    folder: Path,
    *,
    resume: bool = False,
    accelerator: str = "auto",
    measure_chance: Callable[[], dict[str, Chance]] | None = None,
) -> bool:
    """Train in a run folder; the final weights are in its `weights.safetensors`.

    A run that was stopped or killed at any moment continues with `resume=True` from its last checkpoint, as if it had not been
    interrupted. With a budget in frames and environments that expose their state the final weights are bit-identical; other
    environments begin new episodes. Under `torchrun` each process has its own environments with another seed, and learns from
    `batch_size` of their unrolls; gradients are averaged, and rank 0 writes the folder.

    Args:
        config: the configuration.
        env: the environments, built from the configuration; the caller closes them.
        folder: the run folder, created here unless `resume`.
        resume: continue from the last checkpoint.
        accelerator: device, as Lightning Fabric names it.
        measure_chance: measures the mean returns of random actions by task, which are printed with those of training; called
            once, at rank 0, before training.

    Returns:
        True at the end of the budget, False if Ctrl-C or SIGTERM stopped training before.

    Raises:
        UserError: the folder exists (or, with `resume`, is not a run, has another configuration or is in use by another
            process), a checkpoint is corrupt or cannot be saved, the configuration is inconsistent (no folder is created then),
            or a number is not finite (the message names it).
        EnvCrashError: an environment failed.
    """
    check_config(config)
    fabric = build_fabric(accelerator)
    torch.manual_seed(config.seed)
    agent = build_agent(config.agent, env.spec)
    learner = Learner(agent, config, fabric)
    with open_run(fabric, folder, config, resume, first_checkpoint=config.checkpoint_every):
        chance = measure_chance() if measure_chance is not None and fabric.is_global_zero else {}
        return _train(learner, env, folder, resume, chance)


def _train(learner: Learner, env: VectorEnv, folder: Path, resume: bool, chance: dict[str, Chance]) -> bool:
    agent, config, fabric = learner.agent, learner.config, learner.fabric
    generator = torch.Generator().manual_seed(process_seed(config.seed, fabric.global_rank))
    rollout = RolloutWorker(agent, env, config.unroll_length, generator, overlap=config.overlap)
    returns = EpisodeReturns()
    progress = _resume(learner, rollout, returns, folder) if resume else Progress()
    first_step = progress.step
    with (
        RunLoop(fabric, folder, config.budget, progress, unit="frames", columns=_columns(env.names), rate=("frames", 1)) as run,
        rollout,
    ):
        watch = _ReturnWatch(chance, set(env.names), run.spent)
        run.announce(agent, f"{env.num_envs} environments of {', '.join(sorted(set(env.names)))}")
        if not resume and (slow := bfloat16_warning(config.agent.precision, fabric.device, "--agent.precision")):
            run.print(slow)
        while run.next_step():
            # act and learn
            learning_rate = config.optimizer.lr * (1 - run.spent)
            with _naming_update(run):
                unrolls = rollout.take(config.batch_size).to(fabric.device)
                with rollout.prefetch(config.batch_size):
                    progress.add(learner.update(unrolls, learning_rate))
            steps, episodes = rollout.pop_stats()
            progress.frames += fabric.world_size * steps
            returns.add(episodes)
            run.end_step()

            # once in a while: a row of metrics
            if run.is_due(config.log_every):
                means = mean_over_processes(fabric, progress.pop_means())
                means |= mean_returns(_gather(returns.pop(), fabric), env.names)
                counts = {"frames": float(progress.frames), "frames_per_second": run.speed, "learning_rate": learning_rate}
                if warning := watch.update(progress.step, run.spent, means):
                    run.print(warning)
                run.log(counts | means, _format_returns(means, chance))

            # after each update, or every few, and where training is to stop: a checkpoint
            if run.stopping or run.is_due(config.checkpoint_every):
                own = {
                    "progress": progress.to_dict(),
                    "returns": returns.get_state(),
                    "rollout": rollout.get_state(),
                    "torch_rng": torch.get_rng_state(),
                }
                run.save(agent, {"optimizer": learner.optimizer.state_dict(), "processes": _gather(own, fabric)})
    ended_before = progress.step == first_step and (folder / WEIGHTS).exists()
    if fabric.is_global_zero and run.spent >= 1 and not ended_before:
        save_weights(folder / WEIGHTS, agent, {"step": progress.step, "frames": progress.frames})
    return run.spent >= 1


def build_agent(config: AgentConfig, spec: EnvSpec, device: str = "cpu") -> Agent:
    """Build an agent for environments.

    Args:
        config: the configuration.
        spec: shapes of observations and actions.
        device: the device of its tensors; on "meta" they have shapes but no values.

    Returns:
        The agent, in float32 whatever PyTorch's defaults are.

    Raises:
        UserError: the configuration is inconsistent.
    """
    try:
        with float32_defaults(device):
            return Agent(config, spec)
    except (ValueError, RuntimeError) as error:
        raise UserError(f"agent: {error}") from error


def check_config(config: TrainConfig) -> None:
    """Check a configuration before training.

    Args:
        config: the configuration of the run.

    Raises:
        UserError: it is inconsistent.
    """
    check_values(config)
    if config.frames is None and config.minutes is None and config.cpu_minutes is None:
        raise UserError("no end to training: give --frames, --minutes or --cpu-minutes")
    if config.algorithm == "ppo" and config.ppo.minibatches > config.batch_size:
        raise UserError(f"ppo.minibatches: expected 1 to batch_size = {config.batch_size}, got {config.ppo.minibatches}")


class _ReturnWatch:
    """Warns if the mean return over the tasks stays at chance, that of random actions, for a fifth of the budget."""

    def __init__(self, chance: dict[str, Chance], tasks: set[str], spent: float) -> None:
        self._chance = mean_chance(chance, tasks)
        self._watch = ChanceWatch(math.inf if self._chance is None else self._chance.limit, _PATIENCE)
        self._before = spent

    def update(self, step: int, spent: float, means: dict[str, float]) -> str | None:
        """Add a row of metrics, and return one line of warning, or None."""
        if self._chance is None or "return" not in means:
            return None
        length, self._before = spent - self._before, spent
        found = self._watch.update(spent, length, means["return"])
        if found is None:
            return None
        return (
            f"update {step}: the mean return has been at chance for {100 * found[0]:.0f} % of the budget ({found[1]:.2f}, "
            f"random actions {self._chance.mean:.2f}); suggestions: another --optimizer.lr, a larger --entropy-cost"
        )


@contextmanager
def _naming_update(run: RunLoop) -> Iterator[None]:
    """Convert NotFiniteError to UserError, with the update, the last checkpoint, and the likely cause."""
    try:
        yield
    except NotFiniteError as error:
        last = run.checkpoints.newest()
        kept = "there is no checkpoint yet" if last is None else f"the last checkpoint, of update {last}, still exists"
        from_env = error.name in ("observations", "rewards")
        cause = "the environment returned them" if from_env else "try a smaller --optimizer.lr in another --run"
        raise UserError(f"update {run.progress.step}: {error}; {kept}; {cause}") from error


def _resume(learner: Learner, rollout: RolloutWorker, returns: EpisodeReturns, folder: Path) -> Progress:
    checkpoints = Checkpoints(folder / "checkpoints")
    state = checkpoints.load(learner.agent)
    if state is None:
        return Progress()
    with reading_state(checkpoints.folder, EnvCrashError):
        load_optimizer(learner.optimizer, state["optimizer"])
        own = _own_part(state["processes"], learner.fabric)
        counters = dict(own["progress"])
        returns.set_state(own["returns"] if "returns" in own else counters.pop("returns"), rollout.actor.env.names)
        progress = Progress.from_dict(counters)
        saved = rollout_state(own)
        check_unrolls(saved, rollout, learner.config.unroll_length)
        rollout.set_state(saved)
        torch.set_rng_state(own["torch_rng"])
        return progress


def _columns(tasks: tuple[str, ...]) -> tuple[str, ...]:
    losses = ("policy_loss", "value_loss", "entropy", "gradient_norm")
    diagnostics = ("explained_variance", "approx_kl", "clip_fraction")
    returns = ("episodes", "return", *(f"return_{task}" for task in sorted(set(tasks))))
    return ("frames", "minutes", "cpu_minutes", "frames_per_second", "learning_rate", *losses, *diagnostics, *returns)


def _gather(own: T, fabric: Fabric) -> list[T]:
    """The values of all processes at rank 0; empty at other ranks."""
    if fabric.world_size == 1:
        return [own]
    parts: list[T] | None = [own] * fabric.world_size if fabric.is_global_zero else None
    torch.distributed.gather_object(own, parts)
    return parts or []


def _own_part(parts: list[dict[str, Any]], fabric: Fabric) -> dict[str, Any]:
    if len(parts) != fabric.world_size:
        raise UserError(f"the run was begun by {len(parts)} processes and cannot continue with {fabric.world_size}")
    return parts[fabric.global_rank]


def _format_returns(means: dict[str, float], chance: dict[str, Chance]) -> str:
    tasks = [name.removeprefix("return_") for name in means if name.startswith("return_")]
    shown = [
        f"{task} {means[f'return_{task}']:.2f}" + (f" (chance {chance[task].mean:.2f})" if task in chance else "")
        for task in tasks
    ]
    return f"mean return {', '.join(shown)}" if shown else f"entropy {means['entropy']:.2f}"
