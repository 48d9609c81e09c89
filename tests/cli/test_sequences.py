"""`srwm sequences`: from a preset to the figures."""

import json
import subprocess
import sys

import pytest

from srwm.cli import main
from srwm.sequences.presets import CORES, PRESETS

SMALL = [
    *("--accelerator", "cpu", "--threads", "1", "--cpu-minutes", "None", "--steps", "2", "--batch-size", "4"),
    *("--log-every", "1", "--validate-every", "2", "--validation-sequences", "4"),
    *("--stack.d-model", "8", "--stack.num-heads", "2", "--stack.num-layers", "1"),
]


def test_presets_and_cores_are_listed_with_what_they_are_for(capsys) -> None:
    assert main(["sequences", "train", "--help"]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert all(f"{name} {about}" in output for name, (about, _) in PRESETS.items())
    assert all(f"{name} {about}" in output for name, about in CORES.items())


def test_help_of_a_preset_says_what_it_is_for(capsys) -> None:
    with pytest.raises(SystemExit) as error:
        main(["sequences", "train", "s3", "--help"])
    assert error.value.code == 0
    assert capsys.readouterr().out.startswith(f"s3: {PRESETS['s3'][0]}.\n")


@pytest.mark.parametrize(
    "words",
    [["party"], ["parity", "--core", "mamba"], ["parity", "--core=mamba"], ["parity", "--core"], ["parity", "--core", ""]],
)
def test_an_unknown_preset_or_core_is_reported_in_a_line(words, capsys) -> None:
    with pytest.raises(SystemExit) as error:
        main(["sequences", "train", *words])
    assert error.value.code == 2
    message = capsys.readouterr().err
    assert f"no {'core' if len(words) > 1 else 'preset'} '" in message
    assert "; there are " in message
    assert message.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--stack.core-options.foo", "3"],
            "no option 'foo' of core 'srwm'; there are input_softmax, beta_init, query_init_std",
        ),
        (["--core", "lstm", "--stack.core-options.beta-init=1"], "no option 'beta_init' of core 'lstm'; there are none"),
    ],
)
def test_an_unknown_option_of_a_core_is_reported_in_a_line(words, message, capsys) -> None:
    with pytest.raises(SystemExit) as error:
        main(["sequences", "train", "parity", *words])
    assert error.value.code == 2
    error_line = capsys.readouterr().err
    assert error_line.startswith(f"srwm: {message}")
    assert error_line.count("\n") == 1


@pytest.mark.parametrize(("preset", "core"), [("shuffle2", "lstm"), ("automaton", "deltanet")])
def test_a_run_is_trained_measured_and_drawn(preset, core, tmp_path, capsys) -> None:
    run = tmp_path / "run"
    lengths = ["--task.min-length", "4", "--task.max-length", "8"]
    assert main(["sequences", "train", preset, f"--core={core}", "--run", str(run), *SMALL, *lengths]) == 0
    assert "more than 95 % of the answers right up to position" in capsys.readouterr().out
    assert json.loads((run / "config.json").read_text())["stack"]["core"] == core
    assert main(["sequences", "evaluate", str(run), "--sequences", "3"]) == 0
    assert "test, 3 sequences each:" in capsys.readouterr().out
    assert json.loads((run / "test.json").read_text())["sequences"] == 3
    pictures = [run / "curves.png", run / "episode.png", tmp_path / "curves.png", tmp_path / "episode.png"]
    figures = ["--figure", str(pictures[2]), "--episode", str(pictures[3])]
    assert main(["sequences", "curves", str(run), str(run), *figures]) == 0
    assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in pictures)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["evaluate", "nowhere"], "nowhere"),
        (["curves", "nowhere"], "nowhere"),
        (["curves", "nowhere", "--figure", "x.txt"], "expected a name that ends in .png"),
        (["train", "parity", *SMALL, "--task.name", "party"], "task.name: expected one of parity, aa-star"),
        (["train", "parity", *SMALL, "--task.max-length", "1000"], "task.max_length: expected a number from 1 to 512"),
        (["train", "abab-star", *SMALL, "--task.max-length", "3"], "whose lengths are multiples of 4, got 2 to 3"),
        (["train", "parity", *SMALL, "--stack.num-heads", "3"], "stack: num_heads: expected a divisor of d_model = 8, got 3"),
        (["train", "parity", *SMALL, "--stack.backend", "fast"], "stack: backend"),
    ],
)
def test_mistakes_are_reported_in_a_line(words, message, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["sequences", *words]) == 1
    error = capsys.readouterr().err
    assert error.startswith("srwm: ")
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_runs_of_other_tasks_are_not_drawn_as_one_sequence(tmp_path, capsys) -> None:
    runs = [str(tmp_path / name) for name in ("parity", "dyck1")]
    for run, name in zip(runs, ("parity", "dyck1"), strict=True):
        assert main(["sequences", "train", name, "--run", run, *SMALL, "--task.max-length", "8"]) == 0
    figures = ["--figure", str(tmp_path / "curves.png"), "--episode", str(tmp_path / "episode.png")]
    assert main(["sequences", "curves", *runs, *figures]) == 1
    assert "expected the task of" in capsys.readouterr().err


@pytest.mark.slow
def test_parity_is_solved_within_a_minute_of_one_thread(tmp_path) -> None:
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    words = [sys.executable, "-m", "srwm", "sequences", "train", "parity", "--run", str(tmp_path / "run"), "--threads", "1"]
    output = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 60
    bins = json.loads((tmp_path / "run" / "test.json").read_text())["bins"]
    assert all(each["sequences"] == 1.0 for each in bins.values()), output
