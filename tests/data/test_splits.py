import re
from pathlib import Path

import pytest

from srwm.cli import main
from srwm.data.splits import DATA_SETS, load_splits
from srwm.errors import UserError


def test_the_help_names_every_data_set(capsys):
    with pytest.raises(SystemExit):
        main(["fewshot", "train", "cpu-omniglot-1shot", "--help"])
    shown = re.sub(r"[\s│]+", " ", capsys.readouterr().out)
    assert f"--data STR {', '.join(DATA_SETS)}, or folder:PATH for your own class folders" in shown


def test_the_user_guide_names_every_data_set():
    guide = (Path(__file__).parents[2] / "docs" / "fewshot.md").read_text()
    assert [name for name in DATA_SETS if f"`{name}`" not in guide] == []


def test_a_data_set_is_one_entry(monkeypatch):
    glyphs = DATA_SETS["glyphs"]
    monkeypatch.setitem(DATA_SETS, "toy", glyphs._replace(load=lambda data_dir: {"train": data_dir}))
    assert load_splits("toy", "folder") == {"train": "folder"}
    with pytest.raises(UserError, match=r"data: expected omniglot, .*, toy or folder:PATH, got 'toys'"):
        load_splits("toys")
