"""`srwm learn` and `srwm predict`."""

import csv
from pathlib import Path

import numpy as np
import pytest

from srwm import FewShotLearner
from srwm.cli import main

image = pytest.importorskip("PIL.Image")


def bar(angle: int, thick: int) -> np.ndarray:
    """A bar of ink on paper, upright, level or a cross of both."""
    pixels = np.full((60, 50), 230, np.uint8)
    if angle in (0, 2):
        pixels[8:52, 25 - thick : 25 + thick] = 20
    if angle in (1, 2):
        pixels[30 - thick : 30 + thick, 5:45] = 20
    return pixels


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Class folders in `letters`, other drawings of the same classes in `new`."""
    monkeypatch.chdir(tmp_path)
    for angle, name in enumerate(["upright", "level", "cross"]):
        for root, thick in (("letters", 2), ("new", 3)):
            (tmp_path / root / name).mkdir(parents=True)
            image.fromarray(bar(angle, thick)).save(tmp_path / root / name / "1.png")
    return tmp_path


def failure(words: list[str], capsys, code: int = 1) -> str:
    if code == 2:
        with pytest.raises(SystemExit):
            main(words)
    else:
        assert main(words) == code
    error = capsys.readouterr().err
    assert error.startswith("srwm: ")
    assert error.count("\n") == 1
    return error


def test_folders_are_learned_saved_and_recognized(folder, capsys) -> None:
    assert main(["learn", "letters", "--save", "memory.safetensors"]) == 0
    assert "learned 3 images of 3 classes: cross (1), level (1), upright (1)\n" in capsys.readouterr().out
    image.new("L", (40, 40), 255).save("blank.png")
    assert main(["predict", "memory.safetensors", "new", "blank.png", "new/*/1.png", "--csv", "out.csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[:3]] == [[f"new/{n}/1.png", n] for n in ("cross", "level", "upright")]
    assert lines[3].split(maxsplit=1) == ["blank.png", "unknown (no ink was found)  100.0 %"]
    with open("out.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == ["cross", "level", "upright", "", "cross", "level", "upright"]
    assert [round(float(row["unknown"])) for row in rows] == [0, 0, 0, 1, 0, 0, 0]
    expected = FewShotLearner().load("memory.safetensors").predict_proba("new", unknown=True)
    written = [[float(row[name]) for name in ("p(cross)", "p(level)", "p(upright)", "unknown")] for row in rows[:3]]
    np.testing.assert_allclose(written, expected, atol=1e-6)
    assert [float(row["probability"]) for row in rows[:3]] == pytest.approx(expected.max(1), abs=1e-6)


def test_what_was_saved_is_extended(folder, capsys) -> None:
    assert main(["learn", "letters/cross", "letters/level", "--save", "two.safetensors"]) == 0
    assert main(["learn", "letters/upright/*", "--add-to", "two.safetensors", "--save", "three.safetensors"]) == 0
    assert capsys.readouterr().out.endswith("saved: three.safetensors, 3 classes\n")
    expected = FewShotLearner().learn(["letters/cross", "letters/level", "letters/upright"])
    found = FewShotLearner().load("three.safetensors")
    np.testing.assert_allclose(found.predict_proba("new"), expected.predict_proba("new"), atol=1e-5)
    assert FewShotLearner().load("two.safetensors").classes_.tolist() == ["cross", "level"]


@pytest.mark.parametrize("head", ["memory", "residual"])
def test_another_head_learns_and_is_saved_with_what_it_learned(folder, head) -> None:
    assert main(["learn", "letters", "--head", head, "--save", "m.safetensors"]) == 0
    expected = FewShotLearner(head=head).learn("letters").predict_proba("new")
    found = FewShotLearner().load("m.safetensors")
    np.testing.assert_allclose(found.predict_proba("new"), expected, atol=1e-6)


def test_mistakes_are_one_line_and_write_nothing(folder, capsys) -> None:
    assert "no images given" in failure(["learn", "--save", "m.safetensors"], capsys, 2)
    assert "nowhere: there is no such file or folder" in failure(["learn", "nowhere", "--save", "m.safetensors"], capsys)
    assert "x: there is no such folder" in failure(["learn", "letters", "--save", "x/m.safetensors"], capsys)
    (folder / "letters" / "cross" / "bad.png").write_bytes(b"no image")
    assert "bad.png: not a readable image" in failure(["learn", "letters", "--save", "m.safetensors"], capsys)
    image.new("L", (40, 40), 255).save(folder / "letters" / "cross" / "bad.png")
    assert "cross/bad.png: no ink was found" in failure(["learn", "letters", "--save", "m.safetensors"], capsys)
    (folder / "letters" / "cross" / "bad.png").unlink()
    assert not Path("m.safetensors").exists()
    assert "m.safetensors" in failure(["predict", "m.safetensors", "new"], capsys)
    assert main(["learn", "letters", "--save", "m.safetensors"]) == 0
    capsys.readouterr()
    assert "no images given" in failure(["predict", "m.safetensors"], capsys, 2)
    assert "new2: there is no such" in failure(["predict", "m.safetensors", "new2", "--csv", "o.csv"], capsys)
    assert "would be replaced" in failure(["predict", "m.safetensors", "new", "--csv", "./m.safetensors"], capsys)
    assert "expected a file, got a folder" in failure(["predict", "m.safetensors", "new", "--csv", "new"], capsys)
    assert not Path("o.csv").exists()
