"""`srwm rl`: from a preset to a film."""

import json

import pytest

from srwm.cli import main
from srwm.rl.presets import CORES, PRESETS

SMALL = [
    *("--accelerator", "cpu", "--threads", "1", "--minutes", "None", "--frames", "400", "--env.num-envs", "4"),
    *("--batch-size", "4", "--unroll-length", "20", "--agent.features", "8", "--agent.stack.d-model", "8"),
    *("--agent.stack.num-heads", "2", "--log-every", "1"),
]


def test_presets_and_cores_are_listed(capsys) -> None:
    assert main(["rl", "train"]) == 0
    told = capsys.readouterr().out
    assert all(name in told for name in (*PRESETS, *CORES))


@pytest.mark.parametrize("words", [["quicker-memory"], ["quick-memory", "--core", "gru"]])
def test_an_unknown_preset_or_core_is_told(words, capsys) -> None:
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
    assert main(["rl", "watch", str(run), "--film", str(tmp_path / "film.gif"), "--most-frames", "3"]) == 0
    assert (tmp_path / "film.gif").exists()


def test_a_folder_that_is_no_run_is_told(tmp_path, capsys) -> None:
    for command in ("evaluate", "curves"):
        assert main(["rl", command, str(tmp_path)]) == 1
        assert "not a run folder" in capsys.readouterr().err
