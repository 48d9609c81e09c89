"""Recordings of one episode: observations, actions, rewards, values and the change of the memory."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CalledProcessError
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from srwm.errors import UserError
from srwm.nn import State, leaves
from srwm.rl.agent import Agent
from srwm.rl.envs import VectorEnv
from srwm.rl.rollout import frame_tensors
from srwm.training.figures import check_figure
from srwm.training.modes import evaluation_mode

if TYPE_CHECKING:
    from matplotlib.animation import AbstractMovieWriter


@dataclass
class Recording:
    """One episode, frame by frame."""

    observations: list[NDArray[Any]] = field(default_factory=list)
    """as the environment returned them"""
    values: list[float] = field(default_factory=list)
    """the agent's value estimate, a discounted return"""
    changes: list[list[float]] = field(default_factory=list)
    """per block, the norm of its state; for a self-referential matrix the norm of W - W_0"""
    actions: list[int] = field(default_factory=list)
    """the action taken at each frame"""
    correct_actions: list[int | None] = field(default_factory=list)
    """the correct action for the task at each frame; None where the environment does not expose it"""
    rewards: list[float] = field(default_factory=list)
    """the reward of the action at each frame"""
    action_names: tuple[str, ...] = ()
    """a name for each action, where the environment has them"""
    ended: bool = False
    """whether the episode ended within the recording"""

    def caption(self, step: int) -> str:
        """The caption of a frame: the action, the correct action where it is known, the reward and the return so far.

        Args:
            step: the index of the frame.

        Returns:
            Two lines of text.
        """
        lines = [f"step {step}: action {self._name(self.actions[step])}"]
        right = self.correct_actions[step]
        if right is not None:
            lines[0] += f", correct action {self._name(right)}"
        lines.append(f"reward {self.rewards[step]:+.3g}, return so far {sum(self.rewards[: step + 1]):.3g}")
        return "\n".join(lines)

    def _name(self, action: int) -> str:
        return self.action_names[action] if self.action_names else str(action)

    @property
    def outcome(self) -> str:
        """The return of the episode, or the sum of rewards so far if it was cut off."""
        total = f"return {sum(self.rewards):g}"
        return total if self.ended else f"cut off, {total} so far"


@torch.no_grad()
def record(agent: Agent, env: VectorEnv, *, greedy: bool = True, seed: int = 0, max_frames: int = 1000) -> Recording:
    """Record the first episode of the first environment, with the agent in evaluation mode.

    Args:
        agent: the agent.
        env: its environments.
        greedy: take the most probable actions instead of sampling from the policy.
        seed: seed of the sampled actions.
        max_frames: largest number of frames.

    Returns:
        The recording.

    Raises:
        EnvCrashError: an environment failed.
    """
    device = next(agent.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    recording = Recording(action_names=env.action_names())
    state, frame = agent.core.initial_state(env.num_envs), env.observe()
    with evaluation_mode(agent):
        while len(recording.values) < max_frames:
            logits, values, state = agent(*frame_tensors(frame, device), state)
            policy = logits[:, 0].float().softmax(-1).cpu()
            recording.observations.append(frame.observation[0].copy())
            recording.values.append(values[0, 0].item())
            recording.changes.append([_norm(part) for part in state[: len(agent.core.blocks)]])
            actions = policy.argmax(-1) if greedy else torch.multinomial(policy, 1, generator=generator)[:, 0]
            recording.actions.append(int(actions[0]))
            recording.correct_actions.append(env.correct_actions()[0])
            env.act(actions.numpy())
            frame = env.observe()
            recording.rewards.append(float(frame.reward[0]))
            if frame.first[0]:
                recording.ended = True
                break
    return recording


def video_writer(path: Path) -> "type[AbstractMovieWriter]":
    """Matplotlib's writer for a video file.

    Args:
        path: the file, .gif or .mp4.

    Returns:
        The class of the writer.

    Raises:
        UserError: as `check_figure`, or for .mp4 where ffmpeg is not installed.
    """
    from matplotlib.animation import FFMpegWriter, PillowWriter

    writers: dict[str, type[AbstractMovieWriter]] = {".gif": PillowWriter, ".mp4": FFMpegWriter}
    check_figure(path, writers)
    kind = writers[path.suffix.lower()]
    if not kind.isAvailable():  # type: ignore[attr-defined]
        raise UserError(f"{path}: {path.suffix} needs ffmpeg, which is not installed; .gif does not")
    return kind


def write_video(recording: Recording, path: Path, title: str, frames_per_second: int = 15) -> None:
    """Write a recording as a GIF, or as an MP4 where ffmpeg is installed.

    Args:
        recording: the episode.
        path: the file.
        title: the title above the frames.
        frames_per_second: the speed.

    Raises:
        UserError: as `video_writer`, or the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    kind = video_writer(path)
    figure = Figure(figsize=(7.5, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplot_mosaic("ab;ac", width_ratios=(1, 1.2))
    figure.suptitle(f"{title}, {recording.outcome}", fontsize="medium")
    picture = axes["a"].imshow(_picture(recording.observations[0]), vmin=0, vmax=1)
    axes["a"].set(xticks=[], yticks=[], frame_on=False)
    caption = axes["a"].set_xlabel(recording.caption(0), fontsize="small")
    steps = range(len(recording.values))
    axes["b"].plot(steps, recording.values, color="tab:blue", lw=1)
    axes["b"].set_ylabel("value")
    for block, change in enumerate(zip(*recording.changes, strict=True)):
        axes["c"].plot(steps, change, lw=1, label=f"block {block + 1}")
    axes["c"].set(xlabel="step", ylabel="size of ΔW")
    if recording.changes[0]:
        axes["c"].legend(fontsize="x-small")
    markers = [axes[name].axvline(0, color="tab:red", lw=1) for name in "bc"]
    writer = kind(fps=frames_per_second)
    try:
        with writer.saving(figure, str(path), dpi=90):
            for step in steps:
                picture.set_data(_picture(recording.observations[step]))
                caption.set_text(recording.caption(step))
                for marker in markers:
                    marker.set_xdata([step, step])
                writer.grab_frame()
    except (OSError, CalledProcessError) as error:
        raise UserError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from error


def _picture(observation: NDArray[Any]) -> NDArray[np.float64]:
    """An image as it is; a vector as a row, a long one folded into several."""
    if observation.ndim == 1:
        width = len(observation) if len(observation) <= 64 else math.ceil(2 * math.sqrt(len(observation)))
        rows = np.full((math.ceil(len(observation) / width), width), np.nan)
        rows.flat[: len(observation)] = observation
        return rows
    return np.asarray(observation, dtype=np.float64).transpose(1, 2, 0) / 255


def _norm(state: State) -> float:
    return float(np.sqrt(sum(part.double().square().sum().item() for part in leaves(state))))
