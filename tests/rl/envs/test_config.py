import dataclasses

import pytest

from srwm.errors import UserError
from srwm.rl.envs import EnvConfig, ProcgenConfig, build_env
from srwm.training.configuration import config_from_dict


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (EnvConfig(names=()), "names: expected one or more different tasks"),
        (EnvConfig(names=("maze", "maze")), "names: expected one or more different tasks"),
        (EnvConfig(num_envs=5), "num_envs: expected at least one for each of 6 tasks, got 5"),
        (EnvConfig("gymnasium", ("CartPole-v1",), 1, workers=-1), "workers: expected 0 or more, got -1|not installed"),
    ],
)
def test_wrong_settings_are_named(config, message):
    with pytest.raises(UserError, match=message):
        build_env(config, seed=0)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("srwm.rl.envs.procgen.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"ProcGen is not installed: pip install 'srwm\[procgen\]'"):
        build_env(EnvConfig(), seed=0)


def test_a_configuration_is_rebuilt_from_its_dict():
    config = EnvConfig(num_envs=12, procgen=ProcgenConfig("hard", 0))
    assert config_from_dict(EnvConfig, dataclasses.asdict(config)) == config
