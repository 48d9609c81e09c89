import dataclasses
import json
import os
from contextlib import nullcontext
from pathlib import Path

import pytest

from srwm.errors import UserError
from srwm.fewshot.presets import PRESETS
from srwm.fewshot.protocols.registry import read_config
from srwm.training.runs import check_same_config, create_run, keep_result, short_names


def test_configurations_come_back_equal(tmp_path, config):
    for name, given in {"small": config, **{name: preset for name, (_, preset) in PRESETS.items()}}.items():
        create_run(tmp_path / name, given)
        assert read_config(tmp_path / name) == given
        check_same_config(tmp_path / name, given)


def test_a_run_of_before_a_field_was_there_continues_with_its_default(tmp_path, config):
    create_run(tmp_path / "run", config)
    path = tmp_path / "run" / "config.json"
    stored = json.loads(path.read_text())
    del stored["normalize"]
    path.write_text(json.dumps(stored))
    check_same_config(tmp_path / "run", config)
    with pytest.raises(UserError, match=r"normalize \(was False, now True\)"):
        check_same_config(tmp_path / "run", dataclasses.replace(config, normalize=True))


def test_runs_go_by_as_much_of_their_path_as_tells_them_apart():
    paths = [Path("a/one/run"), Path("a/two/run"), Path("b/one/run"), Path("a/one/run")]
    assert short_names(paths[:2]) == ["one/run", "two/run"]
    assert short_names(paths) == ["a/one/run", "a/two/run", "b/one/run", "a/one/run"]
    assert short_names([Path("x/first"), Path("x/second")]) == ["first", "second"]
    assert short_names([paths[0], paths[0]]) == ["run", "run"]
    assert short_names([]) == []


def test_a_run_is_not_overwritten(tmp_path, config):
    create_run(tmp_path / "run", config)
    with pytest.raises(UserError, match=r"run exists already; continue it with --resume"):
        create_run(tmp_path / "run", config)


def test_an_empty_folder_may_become_a_run_and_a_failed_one_leaves_nothing(tmp_path, config, monkeypatch):
    (tmp_path / "run").mkdir()
    create_run(tmp_path / "run", config)
    assert read_config(tmp_path / "run") == config

    def killed(path, content):
        raise KeyboardInterrupt

    monkeypatch.setattr("srwm.training.runs.write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        create_run(tmp_path / "other", config)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_the_empty_folder_that_one_is_in_may_become_a_run(tmp_path, config, monkeypatch):
    monkeypatch.chdir(tmp_path)
    create_run(Path(), config)
    assert read_config(Path()) == config
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_a_file_is_no_run_folder(tmp_path, config):
    create_run(tmp_path / "run", config)
    with pytest.raises(UserError, match=r"config\.json is not a run folder"):
        read_config(tmp_path / "run" / "config.json")


def test_every_differing_field_is_named(tmp_path, config):
    create_run(tmp_path / "run", config)
    stack = dataclasses.replace(config.model.stack, d_model=32)
    other = dataclasses.replace(config, seed=5, model=dataclasses.replace(config.model, stack=stack))
    with pytest.raises(UserError, match=r"configuration: model\.stack\.d_model \(was 16, now 32\), seed \(was 0, now 5\)$"):
        check_same_config(tmp_path / "run", other)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "not a run folder"),
        ("{", "not readable"),
        ("[]", "not a configuration"),
        ('{"color": 1}', "unknown field color"),
        ('{"env": {}, "seed": 0}', "is a run of srwm rl; use the commands"),
        ('{"k_shot": "a"}', "k_shot: expected .*int.*, got 'a'"),
        ('{"k_shot": true}', "k_shot: expected .*int.*, got True"),
        ('{"model": "x"}', "model: expected .*ModelConfig.*, got 'x'"),
        ('{"model": {"stem": 3}}', "model: stem: expected .*conv4.*, got 3"),
        ('{"protocol": "zzz"}', "protocol: expected .*synchronous.*, got 'zzz'"),
    ],
)
def test_a_folder_that_is_no_run_is_reported(tmp_path, content, message):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match=message):
        read_config(tmp_path)


@pytest.mark.parametrize(
    ("before", "older", "kept"),
    [
        (None, False, True),
        ("{", False, True),
        ('{"episodes": 10}', False, True),
        ('{"nearest": {"mean": 0.5, "episodes": 11}}', False, False),
        ('{"nearest": {"mean": 0.5, "episodes": 11}}', True, True),
    ],
)
def test_a_result_over_fewer_episodes_does_not_replace_one_of_the_same_weights(tmp_path, before, older, kept):
    path, weights = tmp_path / "test.json", tmp_path / "best.safetensors"
    weights.touch()
    if before is not None:
        path.write_text(before)
        os.utime(path, (0, weights.stat().st_mtime + (-1 if older else 1)))
    with nullcontext() if kept else pytest.warns(UserWarning, match="over 11 episodes, this one is over 10"):
        assert keep_result(path, {"episodes": 10, "seed": 3}, weights) == kept
    assert ("seed" in json.loads(path.read_text())) == kept


def test_a_configuration_of_endless_depth_is_reported(tmp_path):
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match=r"config\.json: not readable"):
        read_config(tmp_path)
