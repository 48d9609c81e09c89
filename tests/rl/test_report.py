"""A run's folder as its agent."""

import json

import pytest

from srwm.errors import UserError
from srwm.rl import report
from srwm.rl.agent import Agent
from srwm.rl.evaluate import play
from srwm.rl.report import load_agent
from srwm.rl.train import WEIGHTS
from srwm.training.checkpoint import Checkpoints
from srwm.training.runs import create_run
from srwm.training.weights import save_weights


def test_all_level_sets_are_played_with_the_same_weights(env, config, tmp_path, monkeypatch) -> None:
    """Also where a training writes newer ones meanwhile."""
    create_run(tmp_path / "run", config)
    agents = [Agent(config.agent, env.spec)]
    played = []
    monkeypatch.setattr(report, "level_sets", lambda *_: {"first": config.env, "second": config.env})
    monkeypatch.setattr(report, "build_env", lambda *_: type(env)())
    monkeypatch.setattr(report, "load_agent", lambda *_: agents.pop())
    monkeypatch.setattr(report, "play", lambda agent, *more, **options: played.append(agent) or play(agent, *more, **options))
    assert list(report.score_run(tmp_path / "run", 4)["sets"]) == ["first", "second"]
    assert played[0] is played[1]


def test_a_folder_that_cannot_be_written_to_is_reported_before_anything_is_played(config, tmp_path, monkeypatch) -> None:
    create_run(tmp_path / "run", config)

    def refuse(folder):
        raise UserError(f"cannot write into {folder}")

    monkeypatch.setattr(report, "check_writable_folder", refuse)
    monkeypatch.setattr(report, "build_env", lambda *_: pytest.fail("the evaluation has begun"))
    with pytest.raises(UserError, match=r"cannot write into .*run"):
        report.score_run(tmp_path / "run", 4)


@pytest.mark.parametrize(
    ("part", "name", "value", "message"),
    [
        ("agent", "features", -32, "agent: features: expected 1 or more, got -32"),
        ("agent", "frames_at_once", 0, "agent: frames_at_once: expected 1 or more, got 0"),
        ("env", "names", [3], "env: names: expected str, got 3"),
    ],
)
def test_impossible_values_in_a_run_are_reported(env, config, tmp_path, part, name, value, message) -> None:
    create_run(tmp_path / "run", config)
    save_weights(tmp_path / "run" / WEIGHTS, Agent(config.agent, env.spec), {})
    path = tmp_path / "run" / "config.json"
    content = json.loads(path.read_text())
    content[part][name] = value
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        load_agent(tmp_path / "run", env.spec)


@pytest.mark.parametrize("changes", [{"num_layers": 10**9}, {"d_model": 10**6, "num_heads": 1}])
@pytest.mark.parametrize("ended", [True, False])
def test_a_configuration_of_another_size_than_the_weights_takes_no_memory(env, config, tmp_path, changes, ended) -> None:
    create_run(tmp_path / "run", config)
    agent = Agent(config.agent, env.spec)
    if ended:
        save_weights(tmp_path / "run" / WEIGHTS, agent, {})
    else:
        Checkpoints(tmp_path / "run" / "checkpoints").save(3, agent, {})
    assert load_agent(tmp_path / "run", env.spec).state_dict().keys() == agent.state_dict().keys()
    path = tmp_path / "run" / "config.json"
    content = json.loads(path.read_text())
    content["agent"]["stack"] |= changes
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="the weights do not fit this model"):
        load_agent(tmp_path / "run", env.spec)
