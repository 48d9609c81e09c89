"""A training run learns, ends, and continues as if it had not been interrupted."""

import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from srwm.errors import UserError
from srwm.nn import StackConfig, map_state
from srwm.rl.agent import AgentConfig
from srwm.rl.chance import Chance
from srwm.rl.config import OptimizerConfig, PPOConfig
from srwm.rl.envs import EnvConfig, EnvCrashError, ProcgenConfig
from srwm.rl.progress import mean_returns
from srwm.rl.train import WEIGHTS, train
from srwm.training.checkpoint import Checkpoints
from srwm.training.metrics import read_metrics
from srwm.training.runs import only_writer


class Killed(BaseException):
    """The process ends here."""


def at_step(env, step: int, happens) -> None:
    """Let `happens(frame)` stand between the environment and its `step`-th observation."""
    observe, act, count = env.observe, env.act, 0

    def counted(actions):
        nonlocal count
        count += 1
        act(actions)

    env.act = counted
    env.observe = lambda: happens(observe()) if count == step else observe()


def test_the_mean_over_tasks_is_reported_where_all_of_them_are_in_it() -> None:
    parts = [{"a": [1.0, 2.0]}, {"a": [6.0], "b": [5.0]}]
    assert mean_returns(parts, {"a", "b"}) == {"return": 4.0, "episodes": 4.0, "return_a": 3.0, "return_b": 5.0}
    assert mean_returns(parts[:1], {"a", "b"}) == {"episodes": 2.0, "return_a": 1.5}
    assert mean_returns([{}], {"a"}) == {}


@pytest.mark.parametrize(("algorithm", "lr", "frames"), [("impala", 1e-2, 12_000), ("ppo", 1e-2, 6000)])
def test_a_run_learns_to_remember_and_is_not_warned_of_chance(env, config, tmp_path, capsys, algorithm, lr, frames) -> None:
    optimizer = OptimizerConfig(name="adam", lr=lr, eps=1e-5, clip_norm=None)
    config = replace(config, algorithm=algorithm, optimizer=optimizer, frames=frames, log_every=20, checkpoint_every=50)
    chance = lambda: {"again": Chance(0.3, 0.0), "recall": Chance(0.3, 0.0)}  # noqa: E731
    assert train(config, type(env)(num_envs=6), tmp_path / "run", accelerator="cpu", measure_chance=chance)
    assert "at chance" not in capsys.readouterr().out
    returns = [row["return"] for row in read_metrics(tmp_path / "run")]
    assert returns[0] < 0.7
    assert sum(returns[-3:]) / 3 > 0.9


@pytest.mark.parametrize("overlap", [False, True])
def test_a_run_that_is_killed_at_any_moment_continues_as_if_nothing_had_happened(
    env, config, tmp_path, outcome, overlap
) -> None:
    config = replace(config, overlap=overlap)
    assert train(config, env, tmp_path / "whole", accelerator="cpu")
    for step in (3, 30, 61):
        victim = type(env)()

        def die(_):
            raise Killed

        at_step(victim, step, die)
        with pytest.raises(Killed):
            train(config, victim, tmp_path / f"run{step}", accelerator="cpu")
        assert train(config, type(env)(), tmp_path / f"run{step}", resume=True, accelerator="cpu")
        assert outcome(tmp_path / f"run{step}") == outcome(tmp_path / "whole")


def test_a_run_whose_checkpoint_is_lost_does_not_begin_anew(env, config, tmp_path) -> None:
    train(config, env, tmp_path / "run", accelerator="cpu")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    with pytest.raises(UserError, match=r"checkpoints: expected step-N\.safetensors and step-N\.state\.pt"):
        train(config, type(env)(), tmp_path / "run", resume=True, accelerator="cpu")


def test_a_run_that_is_requested_to_stop_continues_as_if_nothing_had_happened(env, config, tmp_path, outcome) -> None:
    assert train(config, type(env)(), tmp_path / "whole", accelerator="cpu")

    def ask(frame):
        os.kill(os.getpid(), signal.SIGTERM)
        return frame

    at_step(env, 40, ask)
    assert not train(config, env, tmp_path / "run", accelerator="cpu")
    assert train(config, type(env)(), tmp_path / "run", resume=True, accelerator="cpu")
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_nothing_but_the_unroll_under_way_is_lost_to_kill_9(env, config, tmp_path, outcome) -> None:
    config = replace(config, frames=800)
    program = (
        "from pathlib import Path; from conftest import Recall; from srwm.rl.train import train; from srwm.rl.config import *; "
        "from srwm.rl.agent import AgentConfig; from srwm.nn import StackConfig; from srwm.rl.envs import *; "
        f"train({config!r}, Recall(), Path({str(tmp_path / 'run')!r}), accelerator='cpu')"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=Path(__file__).parent, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    while process.poll() is None and not list(tmp_path.glob("run/checkpoints/step-5.state.pt")):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert train(config, type(env)(), tmp_path / "run", resume=True, accelerator="cpu")
    assert train(config, type(env)(), tmp_path / "whole", accelerator="cpu")
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


@pytest.mark.parametrize("where", ["observation", "reward"])
def test_a_number_that_is_none_ends_the_run_by_name_and_leaves_the_checkpoint(env, config, tmp_path, where) -> None:
    spoil = lambda frame: frame._replace(**{where: getattr(frame, where) * np.nan})  # noqa: E731
    at_step(env, 40, spoil)
    with pytest.raises(
        UserError, match=rf"update \d: {where}s: .* NaN .*checkpoint, of update \d.*; the environment returned them"
    ):
        train(config, env, tmp_path / "run", accelerator="cpu")
    assert train(config, type(env)(), tmp_path / "run", resume=True, accelerator="cpu")


def test_a_number_that_is_none_at_the_first_update_says_that_there_is_no_checkpoint(env, config, tmp_path) -> None:
    at_step(env, 2, lambda frame: frame._replace(observation=frame.observation * np.nan))
    with pytest.raises(UserError, match=r"update 1: .*there is no checkpoint yet"):
        train(config, env, tmp_path / "run", accelerator="cpu")


def test_a_run_reports_its_start_and_its_end(env, config, tmp_path, capsys) -> None:
    assert train(config, env, tmp_path / "run", accelerator="cpu")
    (start, *lines), rows = capsys.readouterr().out.splitlines(), read_metrics(tmp_path / "run")
    for part in (f"training in {tmp_path / 'run'}: device cpu, 1 thread, ", " parameters, budget 300 frames", "again, recall"):
        assert part in start
    assert len(lines) == 1
    assert lines[-1].startswith(f"{rows[-1]['frames']:,.0f} frames, ")
    assert f"mean return again {rows[-1]['return_again']:.2f}, recall {rows[-1]['return_recall']:.2f}" in lines[-1]


def test_without_a_terminal_every_row_is_reported_when_a_minute_has_passed(env, config, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("srwm.training.run_loop._REPORT_EVERY", 0.0)
    assert train(config, env, tmp_path / "run", accelerator="cpu")
    lines = capsys.readouterr().out.splitlines()
    for row in read_metrics(tmp_path / "run"):
        assert any(line.startswith(f"{row['frames']:,.0f} frames, ") and "mean return" in line for line in lines)


def test_chance_is_printed_beside_returns_and_a_run_that_stays_there_says_so(env, config, tmp_path, capsys) -> None:
    optimizer = replace(config.optimizer, lr=1e-12)
    chance = lambda: {"again": Chance(0.5, 0.1), "recall": Chance(0.5, 0.1)}  # noqa: E731
    config = replace(config, optimizer=optimizer, frames=3000)
    assert train(config, env, tmp_path / "run", accelerator="cpu", measure_chance=chance)
    out = capsys.readouterr().out
    assert re.search(r"mean return again \d\.\d\d \(chance 0\.50\), recall \d\.\d\d \(chance 0\.50\)", out)
    assert re.search(
        r"update \d+: the mean return has been at chance for 2\d % of the budget \(0\.\d\d, random actions 0\.50", out
    )


def test_the_learning_rate_falls_linearly_to_the_end_of_the_budget(env, config, tmp_path) -> None:
    assert train(replace(config, log_every=1), env, tmp_path / "run", accelerator="cpu")
    rows = read_metrics(tmp_path / "run")
    before = [0.0, *(row["frames"] for row in rows)]
    assert [row["learning_rate"] for row in rows] == pytest.approx([3e-3 * (1 - frames / 300) for frames in before[:-1]])
    assert len(rows) > 5


def test_a_number_that_learning_has_spoilt_comes_with_a_way_out(env, config, tmp_path) -> None:
    optimizer = OptimizerConfig(name="adam", lr=1e30, eps=1e-5, clip_norm=None)
    with pytest.raises(UserError, match=r"NaN or infinite; .*; try a smaller --optimizer\.lr in another --run"):
        train(replace(config, optimizer=optimizer), env, tmp_path / "run", accelerator="cpu")


def test_a_run_that_has_ended_is_left_as_it_is(env, config, tmp_path) -> None:
    assert train(config, env, tmp_path / "run", accelerator="cpu")
    weights = tmp_path / "run" / WEIGHTS
    made = weights.stat().st_mtime_ns
    assert train(config, type(env)(), tmp_path / "run", resume=True, accelerator="cpu")
    assert weights.stat().st_mtime_ns == made
    weights.unlink()
    assert train(config, type(env)(), tmp_path / "run", resume=True, accelerator="cpu")
    assert weights.exists()


def test_a_run_continues_with_other_workers_and_threads(env, config, tmp_path) -> None:
    def ask(frame):
        os.kill(os.getpid(), signal.SIGTERM)
        return frame

    at_step(env, 40, ask)
    assert not train(config, env, tmp_path / "run", accelerator="cpu")
    other = replace(config.env, workers=3, procgen=replace(config.env.procgen, threads=2))
    assert train(replace(config, env=other), type(env)(), tmp_path / "run", resume=True, accelerator="cpu")


def test_a_run_begun_otherwise_is_not_continued(env, config, tmp_path) -> None:
    train(config, env, tmp_path / "run", accelerator="cpu")
    with pytest.raises(UserError, match=r"discount \(was 0.99, now 0.5\)"):
        train(replace(config, discount=0.5), env, tmp_path / "run", resume=True, accelerator="cpu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": None}, "no end"),
        ({"frames": 1.5}, "frames: expected int or None, got 1.5"),
        ({"frames": None, "cpu_minutes": -1}, "cpu_minutes"),
        ({"batch_size": 0}, "batch_size"),
        ({"algorithm": "dqn"}, "algorithm"),
        ({"ppo": PPOConfig(epochs=0)}, "ppo.epochs"),
        ({"ppo": PPOConfig(clip=-1)}, "ppo.clip"),
        ({"ppo": PPOConfig(lambda_=1.5)}, "ppo.lambda"),
        ({"discount": 1.5}, "discount"),
        ({"reward_clip": -1.0}, "reward_clip"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"agent": AgentConfig(features=0)}, "agent.features: expected 1 or more, got 0"),
        ({"agent": AgentConfig(frames_at_once=0)}, "agent.frames_at_once"),
        ({"env": EnvConfig(num_envs=0)}, "env.num_envs: expected 1 or more, got 0"),
        ({"env": EnvConfig(workers=-1)}, "env.workers: expected 0 or more, got -1"),
        ({"env": EnvConfig(procgen=ProcgenConfig(threads=0))}, "env.procgen.threads: expected a number from 1 below"),
        ({"agent": AgentConfig(channels=(16, 0))}, r"agent.channels: expected 1 or more, got \(16, 0\)"),
        ({"agent": AgentConfig(stack=StackConfig(dropout=1.5))}, "agent.stack.dropout: expected a number from 0 to 1, got 1.5"),
        ({"entropy_cost": math.nan}, "entropy_cost: expected a number, got nan"),
        (
            {"agent": AgentConfig(stack=StackConfig(core_options={"query_init_std": math.nan}))},
            "agent.stack.core_options.query_init_std",
        ),
        ({"optimizer": OptimizerConfig(lr=-1)}, "optimizer.lr"),
        ({"optimizer": OptimizerConfig(clip_norm=0)}, "optimizer.clip_norm"),
        ({"optimizer": OptimizerConfig(alpha=-1)}, "optimizer.alpha"),
        ({"optimizer": OptimizerConfig(name="adam", eps=-1)}, "optimizer.eps"),
        ({"algorithm": "ppo", "batch_size": 2}, "minibatches"),
        ({"optimizer": OptimizerConfig(name="sgd")}, "optimizer.name"),
        ({"agent": AgentConfig(stack=StackConfig(core="lsmt"))}, "core"),
        ({"agent": AgentConfig(stack=StackConfig(d_model=-8, num_heads=2))}, "agent.stack.d_model: expected 1 or more, got -8"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(env, config, tmp_path, change, message) -> None:
    with pytest.raises(UserError, match=message):
        train(replace(config, **change), env, tmp_path / "run", accelerator="cpu")
    assert not (tmp_path / "run").exists()


def rewrite_state(folder: Path, change: Callable[[Any], Any]) -> None:
    """Edit the state of a run's checkpoint by hand, and give it the digest that it would have."""
    checkpoints = Checkpoints(folder / "checkpoints")
    step = checkpoints.newest()
    path = folder / "checkpoints" / f"step-{step}.state.pt"
    state = change(torch.load(path, weights_only=True))
    weights = path.with_name(f"step-{step}.safetensors")
    tensors = safetensors.torch.load_file(weights)
    safetensors.torch.save_file(tensors, weights)  # without a digest, as earlier versions
    torch.save(state, path)


def inside(*names: Any, value: Any) -> Callable[[Any], Any]:
    """A change of one value in nested dicts, lists and tuples; `value` may be a function of the one that is there."""

    def change(state: Any, names: tuple[Any, ...] = names) -> Any:
        if not names:
            return value(state) if callable(value) else value
        copy = dict(state) if isinstance(state, dict) else list(state)
        copy[names[0]] = change(copy[names[0]], names[1:])
        return copy

    return change


OWN = ("processes", 0)


@pytest.mark.parametrize(
    "change",
    [
        lambda state: {"processes": state["processes"]},
        lambda state: state["optimizer"] | {"step": 4},
        lambda state: [1, 2],
        lambda state: torch.zeros(3),
        lambda state: "text",
        inside(*OWN, "progress", value={"paces": 4}),
        inside("processes", value=[{"progress": {"step": 4}}]),
        inside(*OWN, "rollout", value={"actor": None, "queue": None}),
        inside(*OWN, "progress", "step", value="4"),
        inside(*OWN, "progress", "step", value=-4),
        inside(*OWN, "progress", "frames", value=10**400),
        inside(*OWN, "progress", "seconds", value=math.nan),
        inside(*OWN, "progress", "sums", value={"unheard": 1.0}),
        inside(*OWN, "progress", "sums", value={"entropy": "1"}),
        inside(*OWN, "returns", value={"elsewhere": [1.0]}),
        inside(*OWN, "returns", value={"again": "x"}),
        inside(*OWN, "torch_rng", value=torch.zeros(3)),
        inside(*OWN, "rollout", "actor", "generator", value="seed"),
        inside(*OWN, "rollout", "actor", "core", value=torch.zeros(2, 3)),
        inside(*OWN, "rollout", "actor", "core", value=lambda core: map_state(lambda part: part[:-1], core)),
        inside(*OWN, "rollout", "actor", "core", value=lambda core: map_state(lambda part: part.long(), core)),
        inside(*OWN, "rollout", "queue", value=torch.zeros(2)),
        inside(*OWN, "rollout", "queue", 3, value=lambda actions: actions + 5),
        inside(*OWN, "rollout", "queue", 0, value=lambda observations: observations[..., 1:]),
        inside("optimizer", "param_groups", 0, "lr", value="1e-3"),
        inside("optimizer", "param_groups", value=[]),
        inside("optimizer", "state", 0, value={}),
        inside("optimizer", "state", 0, "square_avg", value=lambda average: average[:1]),
        inside("optimizer", "state", 0, "square_avg", value=lambda average: average.to_sparse()),
        inside("optimizer", "state", 0, "square_avg", value="0"),
        inside("optimizer", "state", 0, "step", value=lambda step: step.expand(4)),
        inside("optimizer", "state", value=lambda state: {99: state[0]}),
    ],
)
def test_a_checkpoint_without_the_state_of_such_a_run_is_refused(env, config, tmp_path, ended_run, change) -> None:
    shutil.copytree(ended_run, tmp_path / "run")
    rewrite_state(tmp_path / "run", change)
    with pytest.raises(UserError, match="checkpoints: not the state of such a run"):
        train(config, env, tmp_path / "run", resume=True, accelerator="cpu")


def test_a_checkpoint_of_the_version_before_continues(env, config, tmp_path, outcome) -> None:
    """Returns were part of the progress, the number of updates had another name, and there were no digests."""

    def earlier(state):
        own = dict(state["processes"][0])
        progress = {name: value for name, value in own["progress"].items() if name not in ("best", "validations_since_best")}
        progress["updates"] = progress.pop("count")
        own["progress"] = progress | {"returns": own.pop("returns")}
        return state | {"processes": [own]}

    def ask(frame):
        os.kill(os.getpid(), signal.SIGTERM)
        return frame

    at_step(env, 40, ask)
    assert not train(config, env, tmp_path / "run", accelerator="cpu")
    rewrite_state(tmp_path / "run", earlier)
    assert train(config, type(env)(), tmp_path / "run", resume=True, accelerator="cpu")
    assert train(config, type(env)(), tmp_path / "whole", accelerator="cpu")
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_a_failing_environment_is_not_taken_for_a_bad_checkpoint(env, config, tmp_path) -> None:
    train(config, env, tmp_path / "run", accelerator="cpu")

    def crash(state) -> None:
        raise EnvCrashError("environment 0")

    env.set_state = crash
    with pytest.raises(EnvCrashError):
        train(config, env, tmp_path / "run", resume=True, accelerator="cpu")


def test_a_folder_in_which_a_run_is_training_is_left_alone(env, config, tmp_path) -> None:
    assert train(config, env, tmp_path / "run", accelerator="cpu")
    with only_writer(tmp_path / "run"), pytest.raises(UserError, match="another process is training"):
        train(config, env, tmp_path / "run", resume=True, accelerator="cpu")
    assert train(config, env, tmp_path / "run", resume=True, accelerator="cpu")
