"""A video of an episode: one picture per step, of images and of vectors."""

import math
import shutil
import subprocess
from dataclasses import replace

import pytest
import torch
from PIL import Image

from srwm.errors import UserError
from srwm.rl.agent import Agent
from srwm.rl.record import record, write_video
from srwm.rl.rollout import frame_tensors


@pytest.mark.parametrize("image", [True, False])
def test_a_film_has_a_picture_for_each_step_of_one_episode(env, config, tmp_path, image) -> None:
    env = type(env)(num_envs=1, length=5, image=image)
    recording = record(Agent(config.agent, env.spec), env)
    assert len(recording.values) == len(recording.observations) == len(recording.rewards) == 5
    assert all(len(change) == 2 for change in recording.changes)
    assert recording.outcome == f"return {recording.rewards[-1]:g}"
    assert recording.changes[0] != recording.changes[-1]
    write_video(recording, tmp_path / "episode.GIF", "recall")
    with Image.open(tmp_path / "episode.GIF") as picture:
        assert picture.n_frames == 5


def test_a_caption_says_what_was_done_and_what_it_earned(env, config) -> None:
    env = type(env)(num_envs=1, length=3)
    env.action_names, env.correct_actions = lambda: ("red", "blue"), lambda: (1 if env.step[0] == 2 else None,)
    recording = record(Agent(config.agent, env.spec), env)
    names = [("red", "blue")[action] for action in recording.actions]
    assert recording.caption(0) == f"step 0: action {names[0]}\nreward +0, return so far 0"
    reward = recording.rewards[2]
    assert (
        recording.caption(2) == f"step 2: action {names[2]}, correct action blue\nreward +{reward:g}, return so far {reward:g}"
    )


def test_actions_without_names_have_their_numbers(env, config) -> None:
    recording = record(Agent(config.agent, env.spec), env, max_frames=1)
    assert recording.caption(0).startswith(f"step 0: action {recording.actions[0]}\n")


def test_a_film_s_sizes_are_those_of_the_shift(env, config) -> None:
    agent = Agent(config.agent, env.spec)
    env = type(env)(num_envs=1, length=3)
    recording = record(agent, env, max_frames=1)
    assert recording.outcome == "cut off, return 0 so far"
    _, _, state = agent(*frame_tensors(type(env)(num_envs=1, length=3).observe(), torch.device("cpu")))
    assert recording.changes == [[pytest.approx(math.sqrt(part.double().square().sum().item())) for part in state]]


@pytest.mark.parametrize("training", [True, False])
def test_the_agent_keeps_its_mode(env, config, training) -> None:
    agent = Agent(config.agent, env.spec).train(training)
    record(agent, env, max_frames=1)
    assert agent.training == training


def test_a_film_has_sizes_of_blocks_alone(env, config) -> None:
    """Where unrolls have a length of their own, the state ends with a count of steps."""
    stack = replace(config.agent.stack, carry="unroll", unroll_length=5)
    recording = record(Agent(replace(config.agent, stack=stack), env.spec), env, max_frames=1)
    assert [len(change) for change in recording.changes] == [stack.num_layers]


def test_a_film_of_another_kind_is_refused(env, config, tmp_path) -> None:
    recording = record(Agent(config.agent, env.spec), env, max_frames=1)
    with pytest.raises(UserError, match=r"\.gif, \.mp4"):
        write_video(recording, tmp_path / "episode.avi", "recall")


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
def test_a_film_may_be_an_mp4(env, config, tmp_path) -> None:
    write_video(record(Agent(config.agent, env.spec), env, max_frames=2), tmp_path / "episode.mp4", "recall")
    assert b"ftyp" in (tmp_path / "episode.mp4").read_bytes()[:16]


def test_a_film_that_cannot_be_written_is_reported(env, config, tmp_path, monkeypatch) -> None:
    def fail(self) -> None:
        raise subprocess.CalledProcessError(1, "ffmpeg")

    monkeypatch.setattr("matplotlib.animation.PillowWriter.finish", fail)
    recording = record(Agent(config.agent, env.spec), env, max_frames=1)
    with pytest.raises(UserError, match=r"cannot write .*episode\.gif"):
        write_video(recording, tmp_path / "episode.gif", "recall")
