"""A run folder is opened for one writer, through no link, and without what a kill left."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from lightning_fabric import Fabric
from torch import nn

from srwm.errors import UserError
from srwm.training.checkpoint import Checkpoints
from srwm.training.runs import create_run, only_writer, open_run, read_config_of


@dataclass(frozen=True)
class Config:
    FOREIGN_FIELDS: ClassVar = {"strange": "srwm elsewhere"}

    seed: int = 0


def opened(folder: Path) -> None:
    with open_run(Fabric(accelerator="cpu", devices=1), folder, Config(), resume=True, first_checkpoint=1):
        pass


@pytest.fixture
def run(tmp_path) -> Path:
    folder: Path = tmp_path / "run"
    create_run(folder, Config())
    return folder


@pytest.mark.parametrize("dangling", [False, True])
def test_a_lock_that_is_a_link_is_refused_and_its_target_stays(run, tmp_path, dangling) -> None:
    target = tmp_path / "target"
    if not dangling:
        target.write_text("kept")
    (run / ".lock").symlink_to(target)
    with pytest.raises(UserError, match=r"\.lock: cannot be opened as a file \(a link is there\)"):
        opened(run)
    assert target.exists() != dangling
    assert dangling or target.read_text() == "kept"


def test_a_lock_that_is_a_pipe_is_refused(run) -> None:
    os.mkfifo(run / ".lock")
    with pytest.raises(UserError, match=r"\.lock: expected a file, got a pipe"):
        opened(run)


def test_the_content_of_a_lock_stays(run) -> None:
    (run / ".lock").write_text("kept")
    opened(run)
    assert (run / ".lock").read_text() == "kept"


def test_one_process_writes_at_a_time(run) -> None:
    program = (
        "from srwm.training.runs import only_writer, UserError; from pathlib import Path\n"
        f"for _ in range(2):\n    try:\n        with only_writer(Path({str(run)!r})): print('entered', flush=True)\n"
        "    except UserError as error: print(error, flush=True)\n    input()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        with only_writer(run):
            assert "another process is training in" in other.stdout.readline()
        other.stdin.write("\n\n")
        other.stdin.flush()
        assert other.stdout.readline() == "entered\n"


def test_a_folder_of_checkpoints_that_is_a_link_is_refused_and_the_other_folder_stays(run, tmp_path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / ".file.tmp").touch()
    (run / "checkpoints").symlink_to(other)
    with pytest.raises(UserError, match="checkpoints: expected a folder, got a link"):
        opened(run)
    assert (other / ".file.tmp").exists()


def test_opening_removes_the_pair_that_a_kill_left(run) -> None:
    for step in (1, 2):
        folder = run / "checkpoints" / str(step)
        Checkpoints(folder).save(step, nn.Linear(1, 1), {})
        for path in folder.iterdir():
            os.rename(path, run / "checkpoints" / path.name)
        folder.rmdir()
    opened(run)
    assert sorted(os.listdir(run / "checkpoints")) == ["step-2.safetensors", "step-2.state.pt"]


@pytest.mark.parametrize("name", ["config.json", "metrics.csv"])
def test_a_pipe_in_place_of_a_file_is_refused(run, name) -> None:
    (run / name).unlink(missing_ok=True)
    os.mkfifo(run / name)
    with pytest.raises(UserError, match=rf"{name}: expected a file"):
        opened(run)


def test_a_run_of_other_commands_is_named(tmp_path) -> None:
    (tmp_path / "config.json").write_text('{"strange": 1, "seed": 0}')
    with pytest.raises(UserError, match="is a run of srwm elsewhere; use the commands of srwm elsewhere for it"):
        read_config_of(tmp_path, Config)


def test_a_name_that_is_not_utf8_is_a_folder_as_any_other(tmp_path) -> None:
    folder = tmp_path / os.fsdecode(b"run-\xff")
    create_run(folder, Config())
    opened(folder)
    assert read_config_of(folder, Config) == Config()
    with pytest.raises(UserError, match=r"run-\\xff exists already"):
        create_run(folder, Config())
