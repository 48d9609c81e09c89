"""`srwm rl`: from a preset to a video."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import srwm
from srwm.cli import main
from srwm.rl.presets import CORES, PRESETS

SMALL = [
    *("--accelerator", "cpu", "--threads", "1", "--minutes", "None", "--frames", "400", "--env.num-envs", "4"),
    *("--batch-size", "4", "--unroll-length", "20", "--agent.features", "8", "--agent.stack.d-model", "8"),
    *("--agent.stack.num-heads", "2", "--log-every", "1"),
]


def test_presets_and_cores_are_listed(capsys) -> None:
    assert main(["rl", "train"]) == 0
    output = capsys.readouterr().out
    assert all(name in output for name in (*PRESETS, *CORES))


@pytest.mark.parametrize("words", [["quicker-memory"], ["quick-memory", "--core", "gru"]])
def test_an_unknown_preset_or_core_is_reported(words, capsys) -> None:
    with pytest.raises(SystemExit) as error:
        main(["rl", "train", *words])
    assert error.value.code == 2
    assert f"no {'core' if '--core' in words else 'preset'} '{words[-1]}'" in capsys.readouterr().err


def test_train_evaluate_watch(tmp_path, capsys) -> None:
    pytest.importorskip("popgym", exc_type=ImportError)
    run = tmp_path / "run"
    assert main(["rl", "train", "--preset", "quick-memory", "--run", str(run), *SMALL]) == 0
    assert (run / "learning_curve.png").exists()
    assert main(["rl", "evaluate", str(run), "--episodes", "5"]) == 0
    assert "popgym-RepeatPreviousEasy-v0" in capsys.readouterr().out
    (scores,) = json.loads((run / "evaluation.json").read_text())["sets"]["tasks"]["returns"].values()
    assert -1 <= scores["low"] <= scores["value"] <= scores["high"] <= 1
    assert main(["rl", "curves", str(run), str(run), "--figure", str(tmp_path / "curves.png")]) == 0
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert main(["rl", "watch", str(run), "--video", str(tmp_path / "episode.gif"), "--max-frames", "3"]) == 0
    assert (tmp_path / "episode.gif").exists()


def test_the_decay_of_ppo_is_an_option_without_an_underscore(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["rl", "train", "quick-memory", "--help"])
    output = capsys.readouterr().out
    assert "--ppo.lambda " in output
    assert "lambda_" not in output


def test_a_preset_may_be_given_as_an_option_and_help_names_the_cores(capsys) -> None:
    for words in (["--preset=quick-memory"], ["--preset", "quick-memory"]):
        with pytest.raises(SystemExit) as error:
            main(["rl", "train", *words, "--help"])
        assert not error.value.code
        assert "--core CORE" in capsys.readouterr().out


def test_an_environment_that_cannot_be_made_is_reported_in_a_line(tmp_path, capsys) -> None:
    pytest.importorskip("gymnasium", exc_type=ImportError)
    (tmp_path / "spoilt_env.py").write_text(
        "import gymnasium\n"
        "class Spoilt(gymnasium.Env):\n    def __init__(self, size):\n        pass\n"
        "gymnasium.register('Spoilt-v0', Spoilt)\n"
    )
    sys.path.insert(0, str(tmp_path))
    run = tmp_path / "run"
    try:
        assert main(["rl", "train", "quick-memory", "--run", str(run), *SMALL, "--env.names", "spoilt_env:Spoilt-v0"]) == 1
    finally:
        sys.path.remove(str(tmp_path))
    output = capsys.readouterr().err
    assert "spoilt_env:Spoilt-v0: " in output
    assert "Traceback" not in output
    assert not run.exists()


TASK = """
import gymnasium, numpy as np

class Task(gymnasium.Env):
    observation_space, action_space = gymnasium.spaces.Box(0, 1, (2,)), gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        return np.zeros(2, np.float32), {}

    def step(self, action):
        return np.zeros(2, np.float32), 0.0, True, False, {}

gymnasium.register("Task-v0", Task)
"""


def train_in(folder: Path, *words: str, without: str = "") -> subprocess.CompletedProcess[str]:
    """`srwm rl train` by a program that lies elsewhere, as an installed one does, with `folder` as the working folder."""
    program = folder / "bin" / "program.py"
    program.parent.mkdir(exist_ok=True)
    hidden = f"sys.modules[{without!r}] = None; " if without else ""
    start = f"import sys; {hidden}from srwm.cli import main; sys.exit(main(sys.argv[1:]))"
    program.write_text(f"if __name__ == '__main__':\n    {start}\n")
    source = str(Path(srwm.__file__).parents[1])
    small = [*SMALL, "--frames", "80", "--run", str(folder / "run")]
    return subprocess.run(
        [sys.executable, str(program), "rl", "train", "quick-memory", *small, *words],
        cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": source},
    )  # fmt: skip


@pytest.mark.parametrize("workers", ["0", "1"])
@pytest.mark.slow
def test_a_module_in_the_working_folder_is_found(tmp_path, workers) -> None:
    pytest.importorskip("gymnasium", exc_type=ImportError)
    (tmp_path / "own_tasks.py").write_text(TASK)
    done = train_in(tmp_path, "--env.names", "own_tasks:Task-v0", "--env.workers", workers)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "weights.safetensors").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:Task-v0", "there is no module no_such_module, neither in the working folder nor installed"),
        ("own_tasks:Task-v0", "no_such_package, which it imports, is not installed"),
    ],
)
def test_a_missing_module_is_named(tmp_path, capsys, monkeypatch, name, message) -> None:
    pytest.importorskip("gymnasium", exc_type=ImportError)
    (tmp_path / "own_tasks.py").write_text("import no_such_package\n")
    monkeypatch.setattr(sys, "path", [part for part in sys.path if part])
    monkeypatch.chdir(tmp_path)
    assert main(["rl", "train", "quick-memory", *SMALL, "--run", str(tmp_path / "run"), "--env.names", name]) == 1
    assert capsys.readouterr().err == f"srwm: {name}: {message}\n"


@pytest.mark.parametrize(
    ("package", "message"),
    [
        ("gymnasium", "gymnasium is not installed: pip install 'srwm[rl]'"),
        pytest.param(
            "lightning_fabric",
            "this command needs lightning_fabric, which is not installed: pip install 'srwm[rl]'",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_missing_package_is_named_with_its_extra(tmp_path, package, message) -> None:
    pytest.importorskip("popgym", exc_type=ImportError)
    done = train_in(tmp_path, without=package)
    assert (done.returncode, done.stderr) == (1, f"srwm: {message}\n")


@pytest.mark.parametrize("resumed", [False, True])
def test_a_crash_says_whether_there_is_a_checkpoint(tmp_path, capsys, monkeypatch, resumed) -> None:
    pytest.importorskip("popgym", exc_type=ImportError)
    from srwm.rl.envs import EnvCrashError
    from srwm.rl.envs.gymnasium import LocalEnv

    run, steps = tmp_path / "run", 0

    def crash(self, actions) -> None:
        nonlocal steps
        steps += 1
        if steps == (50 if resumed else 1):
            raise EnvCrashError("environment 0")
        start(self, actions)

    start = LocalEnv._start
    monkeypatch.setattr(LocalEnv, "_start", crash)
    monkeypatch.setattr("srwm.cli.rl.measure_chance", lambda config, seed: {})
    assert main(["rl", "train", "quick-memory", "--run", str(run), *SMALL, "--checkpoint-every", "1"]) == 1
    output = capsys.readouterr().err
    assert (f"--resume continues from update 2 in {run}" in output) == resumed
    assert ("there was no checkpoint yet" in output) != resumed


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A small run, for tests that leave it as it is."""
    pytest.importorskip("popgym", exc_type=ImportError)
    run = tmp_path_factory.mktemp("runs") / "trained"
    assert main(["rl", "train", "quick-memory", "--run", str(run), *SMALL]) == 0
    return run


@pytest.mark.parametrize("command", ["evaluate", "watch"])
def test_a_crash_while_a_run_is_shown_is_reported_in_a_line(trained, tmp_path, capsys, monkeypatch, command) -> None:
    from srwm.rl.envs import EnvCrashError
    from srwm.rl.envs.gymnasium import LocalEnv

    def crash(self, actions) -> None:
        raise EnvCrashError("environment 0 has its own traceback")

    monkeypatch.setattr(LocalEnv, "_start", crash)
    video = ["--video", str(tmp_path / "episode.gif")] if command == "watch" else []
    assert main(["rl", command, str(trained), *video]) == 1
    output = capsys.readouterr().err
    assert "environment 0 has its own traceback" in output
    assert output.endswith("srwm: an environment failed\n")


def test_scores_of_both_kinds_of_actions_and_a_curve_of_something_else(trained, tmp_path, capsys) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    for words, name in (([], "evaluation"), (["--no-greedy"], "evaluation-sampled"), (["--chance"], "chance")):
        assert main(["rl", "evaluate", str(run), "--episodes", "4", *words]) == 0
        assert json.loads((run / f"{name}.json").read_text())["greedy"] == (not words)
    capsys.readouterr()
    with pytest.warns(UserWarning, match=r"not saved: .*evaluation\.json has a result over 4 episodes, this one is over 2"):
        assert main(["rl", "evaluate", str(run), "--episodes", "2"]) == 0
    assert "2 episodes per task" in capsys.readouterr().out
    assert json.loads((run / "evaluation.json").read_text())["episodes"] == 4
    assert main(["rl", "evaluate", str(run), "--episodes", "1"]) == 1
    assert "episodes: expected 2 or more, got 1" in capsys.readouterr().err
    assert main(["rl", "curves", str(run), str(tmp_path / "nothing")]) == 1
    assert "not a run folder" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["evaluate", "watch"])
@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_out_of_range_is_reported(tmp_path, capsys, command, seed) -> None:
    assert main(["rl", command, str(tmp_path), "--seed", str(seed)]) == 1
    assert f"seed: expected a number from 0 below 2**63, got {seed}" in capsys.readouterr().err


def test_a_folder_that_is_no_run_is_reported(tmp_path, capsys) -> None:
    for command in ("evaluate", "curves"):
        assert main(["rl", command, str(tmp_path)]) == 1
        assert "not a run folder" in capsys.readouterr().err


@pytest.mark.slow
def test_no_other_command_plays_in_the_environments_of_training(tmp_path, monkeypatch) -> None:
    """With equal seeds; nor do the random actions of its own chance, or the second process of another training."""
    pytest.importorskip("popgym", exc_type=ImportError)
    from srwm.rl.envs.gymnasium import LocalEnv

    run, seeds = tmp_path / "run", []
    build = LocalEnv.__init__

    def remember(self, names, own) -> None:
        seeds.append(set(own))
        build(self, names, own)

    monkeypatch.setattr(LocalEnv, "__init__", remember)
    assert main(["rl", "train", "quick-memory", "--run", str(run), *SMALL, "--seed", "1"]) == 0
    assert main(["rl", "evaluate", str(run), "--episodes", "40", "--seed", "1"]) == 0
    assert main(["rl", "watch", str(run), "--video", str(tmp_path / "episode.gif"), "--max-frames", "2", "--seed", "1"]) == 0
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr("srwm.cli.rl.train_run", lambda *_, **__: True)
    assert main(["rl", "train", "quick-memory", "--run", str(run), *SMALL, "--seed", "0"]) == 0
    training, *others = seeds
    assert len(others) == 4
    assert not any(training & other for other in others)
