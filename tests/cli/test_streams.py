"""`srwm streams`: from a preset to the figures."""

import json

import pytest

from srwm.cli import main
from srwm.streams.presets import CORES, PRESETS

SMALL = [
    *("--accelerator", "cpu", "--threads", "1", "--cpu-minutes", "None", "--steps", "2", "--samples", "60"),
    *("--lengths", "20", "--length-from", "0.0", "--log-every", "1", "--validate-every", "2"),
    *("--validation-streams", "4", "--validation-length", "20", "--model.num-features", "3", "--model.num-classes", "2"),
    *("--prior.max-features", "3", "--prior.max-classes", "2", "--model.stack.d-model", "8"),
    *("--model.stack.num-heads", "2", "--model.stack.num-layers", "1"),
]


def test_presets_and_cores_are_listed(capsys) -> None:
    assert main(["streams", "train"]) == 0
    output = capsys.readouterr().out
    assert all(name in output for name in (*PRESETS, *CORES))


@pytest.mark.parametrize(
    "words", [["quicker-streams"], ["quick-streams", "--core", "rnn"], ["quick-streams", "--core=rnn"], ["streams", "--core"]]
)
def test_an_unknown_preset_or_core_is_reported(words, capsys) -> None:
    with pytest.raises(SystemExit) as error:
        main(["streams", "train", *words])
    assert error.value.code == 2
    name = words[-1].removeprefix("--core=").removeprefix("--core")
    assert f"no {'core' if len(words) > 1 else 'preset'} {name!r}; there are" in capsys.readouterr().err


def test_a_run_is_trained_measured_and_drawn(tmp_path, capsys) -> None:
    run = tmp_path / "run"
    assert main(["streams", "train", "quick-streams", "--core=lstm", "--run", str(run), *SMALL]) == 0
    assert (run / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    model = json.loads((run / "config.json").read_text())["model"]
    assert (model["stack"]["core"], model["steps"]) == ("lstm", "interleaved")
    capsys.readouterr()
    assert main(["streams", "evaluate", str(run), "--streams", "3", "--length", "30"]) == 0
    output = capsys.readouterr().out
    assert "3 held-out random streams of 30 samples" in output
    saved = json.loads((run / "test.json").read_text())
    assert 0 <= saved["accuracy"] <= 1
    assert len(saved["by_time"]) == 10
    assert main(["streams", "curves", str(run), str(run), "--figure", str(tmp_path / "curves.png")]) == 0
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["evaluate", "nowhere"], "nowhere"),
        (["curves", "nowhere"], "nowhere"),
        (["prior", "--figure", "x.txt"], "expected a name that ends in .png"),
        (["prior", "--seed", "-1"], "seed: expected a number from 0"),
        (
            ["train", "quick-streams", "--run", "run", *SMALL, "--seed", "2147483648"],
            "seed: expected a number from 0 below 2",
        ),
        (
            ["train", "quick-streams", "--run", "run", *SMALL, "--accelerator", "mps"],
            "accelerator: expected cpu or cuda",
        ),
    ],
)
def test_mistakes_are_reported_in_a_line(words, message, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["streams", *words]) == 1
    error = capsys.readouterr().err
    assert error.startswith("srwm: ")
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_random_streams_are_drawn(tmp_path, capsys) -> None:
    figure = tmp_path / "prior.png"
    assert main(["streams", "prior", "--figure", str(figure), "--seed", "3"]) == 0
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert str(figure) in capsys.readouterr().out
