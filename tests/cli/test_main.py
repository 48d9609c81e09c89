import json
import subprocess
import sys

import pytest

import srwm
from srwm.cli import COMMANDS, main
from srwm.fewshot.presets import PRESETS

PRESET = "cpu-omniglot-1shot"


def one_line(capsys):
    error = capsys.readouterr().err
    assert error.startswith("srwm: ")
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_help_names_every_command(words, capsys):
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert all(f"srwm {name}" in shown for name in COMMANDS)


def test_help_of_a_group_names_its_commands_alone(capsys):
    assert main(["fewshot"]) == 0
    shown = capsys.readouterr().out
    assert "srwm fewshot train" in shown
    assert "srwm demo" not in shown


def test_the_version_is_reported(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"srwm {srwm.__version__}\n"


@pytest.mark.parametrize("command", ["fewshot adaptation", "fewshot curves", "rl curves"])
def test_a_figure_of_no_runs_is_wrong_usage(command, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(command.split())
    assert exit_.value.code == 2
    assert f"no run folder given; see srwm {command} --help" in one_line(capsys)


@pytest.mark.parametrize("command", ["fewshot adaptation", "fewshot curves", "rl curves"])
def test_a_figure_without_an_ending_is_reported(tmp_path, command, capsys):
    assert main([*command.split(), str(tmp_path), "--figure", str(tmp_path / "figure")]) == 1
    assert "figure: expected a name that ends in .png" in one_line(capsys)


def test_the_home_folder_is_found_behind_an_equals_sign(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["demo", "--figure=~/nowhere/x.png"]) == 1
    assert f"{tmp_path}/nowhere: there is no such folder" in one_line(capsys)


def test_help_is_fast_because_it_imports_no_torch():
    program = "import sys; from srwm.cli import main; main(['--help']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode == 0


def test_the_module_runs_too():
    done = subprocess.run([sys.executable, "-m", "srwm", "nonsense"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "srwm: no command 'nonsense'; see srwm --help\n")


@pytest.mark.parametrize("words", [["nonsense"], ["fewshot", "nonsense"], ["--nonsense"]])
def test_an_unknown_command_is_wrong_usage(words, capsys):
    assert main(words) == 2
    assert f"no command {' '.join(words)!r}" in one_line(capsys)


def test_train_help_names_every_preset(capsys):
    assert main(["fewshot", "train"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in PRESETS)


def test_a_wrong_preset_is_wrong_usage(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["fewshot", "train", "cpu-imagenet"])
    assert exit_.value.code == 2
    assert f"no preset 'cpu-imagenet'; there are {', '.join(PRESETS)}" in one_line(capsys)


def test_a_missing_data_folder_is_reported(tmp_path, capsys):
    assert main(["fewshot", "train", PRESET, "--run", str(tmp_path / "run"), "--data-dir", str(tmp_path / "nowhere")]) == 1
    assert "nowhere: no Omniglot here" in one_line(capsys)
    assert not (tmp_path / "run").exists()


def test_a_corrupt_image_is_reported(tmp_path, capsys):
    for part in ("images_background", "images_evaluation"):
        folder = tmp_path / "omniglot" / part / "Greek" / "character01"
        folder.mkdir(parents=True)
        for drawer in range(20):
            (folder / f"0001_{drawer + 1:02d}.png").write_bytes(b"broken")
    assert main(["fewshot", "train", PRESET, "--run", str(tmp_path / "run"), "--data-dir", str(tmp_path)]) == 1
    assert "images_background/Greek/character01/0001_01.png: not a readable image" in one_line(capsys)


def test_an_existing_run_folder_is_reported(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    assert main(["fewshot", "train", PRESET, "--run", str(tmp_path), "--data", "glyphs", "--pool.images-per-class", "4"]) == 1
    assert "exists already; continue it with --resume" in one_line(capsys)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--threads", "0"], "threads: expected 1 or more, got 0"),
        (["--test-episodes", "0"], "test_episodes: expected 2 or more, got 0"),
        (["--accelerator", "abacus"], "accelerator: "),
        (["--data", "folder:"], "data: expected a path after 'folder:', got none"),
        (["--data", "folder:~nobody-of-this-name/x"], "data: ~nobody-of-this-name/x: "),
    ],
)
def test_a_wrong_number_or_device_is_reported_before_the_run_begins(tmp_path, capsys, option, message):
    words = ["fewshot", "train", PRESET, "--run", str(tmp_path / "run"), "--data", "glyphs", "--pool.images-per-class", "4"]
    assert main([*words, *option]) == 1
    assert message in one_line(capsys)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("made", "message"), [(False, "is not a run folder"), (True, "not a readable checkpoint")])
def test_evaluating_what_is_no_run_is_reported(tmp_path, capsys, made, message):
    if made:
        from srwm.training.runs import create_run

        tmp_path = tmp_path / "run"
        create_run(tmp_path, PRESETS[PRESET][1])
        (tmp_path / "config.json").write_text((tmp_path / "config.json").read_text().replace('"omniglot"', '"glyphs"'))
        (tmp_path / "best.safetensors").write_bytes(b"garbage" * 100)
    assert main(["fewshot", "evaluate", str(tmp_path), "--queries", "5"]) == 1
    assert message in one_line(capsys)


@pytest.mark.parametrize("command", ["evaluate", "figures"])
def test_a_seed_out_of_range_is_reported(tmp_path, capsys, command):
    assert main(["fewshot", command, str(tmp_path), "--seed", str(2**70)]) == 1
    assert "seed: expected a number from 0" in one_line(capsys)


@pytest.mark.parametrize("package", [pytest.param("lightning_fabric", marks=pytest.mark.slow), "tyro"])
def test_a_missing_extra_is_named_and_other_missing_modules_are_not_hidden(package):
    program = (
        f"import sys; sys.modules[{package!r}] = None; from srwm.cli import main; "
        "sys.exit(main(['fewshot', 'train', 'cpu-omniglot-1shot']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    if package == "tyro":
        assert "Traceback" in done.stderr
    else:
        assert done.stderr.endswith("lightning_fabric, which is not installed: pip install 'srwm[fewshot]'\n")
        assert done.stderr.count("\n") == 1


def test_a_run_on_a_stream_has_figures_of_its_own(tmp_path, capsys):
    small = [
        "--model.stem",
        "none",
        "--model.stack.d-model",
        "8",
        "--model.stack.num-heads",
        "2",
        "--model.stack.num-layers",
        "1",
    ]
    small += [
        "--data",
        "glyphs",
        "--k-shot",
        "3",
        "--pool.classes",
        "6",
        "--episodes",
        "4",
        "--steps",
        "2",
        "--minutes",
        "None",
    ]
    run = ["--run", str(tmp_path / "run"), "--validation-episodes", "5", "--test-episodes", "5", "--accelerator", "cpu"]
    assert main(["fewshot", "train", "cpu-omniglot-delayed", *small, *run]) == 0
    assert main(["fewshot", "evaluate", str(tmp_path / "run"), "--episodes", "5"]) == 0
    assert "nearest" not in capsys.readouterr().out
    kept = (tmp_path / "run" / "adaptation.json").read_text()
    assert main(["fewshot", "evaluate", str(tmp_path / "run"), "--episodes", "6", "--split", "val"]) == 0
    assert json.loads((tmp_path / "run" / "val.json").read_text())["episodes"] == 6
    assert (tmp_path / "run" / "adaptation.json").read_text() == kept, "those of the test"
    assert main(["fewshot", "evaluate", str(tmp_path / "run"), "--queries", "5"]) == 1
    assert "queries: streams have none, and the protocol is 'delayed'" in capsys.readouterr().err
    assert main(["fewshot", "evaluate", str(tmp_path / "run"), "--tta-passes", "2"]) == 1
    assert "tta_passes: expected 1, since streams are read once, and the protocol is 'delayed'" in capsys.readouterr().err
    assert main(["fewshot", "figures", str(tmp_path / "run")]) == 0
    assert main(["fewshot", "adaptation", str(tmp_path / "run"), "--figure", str(tmp_path / "adaptation.png")]) == 0
    shown = capsys.readouterr().out
    assert "left out, since streams have no queries" in shown
    assert [path.name for path in (tmp_path / "run" / "figures").iterdir()] == ["learning_curves.png"]
    assert (tmp_path / "adaptation.png").exists()


@pytest.mark.parametrize(
    ("command", "flag", "shown"),
    [
        ("demo", "--episodes", "number of test episodes (2 or more) (default: 10000)"),
        ("demo", "--seed", "(a number from 0 below 2**63)"),
        ("fewshot evaluate", "--queries", "(1 or more)"),
        ("fewshot train cpu-omniglot-1shot", "--model.stack.num-heads", "(1 or more)"),
        ("rl train quick-memory", "--ppo.lambda", "(a number from 0 to 1)"),
    ],
)
def test_help_shows_ranges(capsys, command, flag, shown):
    with pytest.raises(SystemExit):
        main([*command.split(), "--help"])
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert shown in text.split(f"{flag} ")[1].split(" --")[0]
