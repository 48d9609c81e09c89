"""What does not fit is refused by the name of its field before an environment is made."""

from dataclasses import replace

import pytest

from srwm.errors import UserError
from srwm.rl.config import OptimizerConfig, PPOConfig, TrainConfig
from srwm.rl.train import check_config

CONFIG = TrainConfig(frames=1000)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": None}, "no end to training: give --frames, --minutes or --cpu-minutes"),
        ({"frames": 0}, "frames: expected a number above 0, got 0"),
        ({"minutes": -1.0}, "minutes: expected a number above 0, got -1.0"),
        ({"unroll_length": 0}, "unroll_length: expected 1 or more, got 0"),
        ({"log_every": 1.5}, "log_every: expected int, got 1.5"),
        ({"discount": 1.5}, "discount: expected a number from 0 to 1, got 1.5"),
        ({"reward_clip": 0.0}, "reward_clip: expected a number above 0, got 0.0"),
        ({"value_cost": float("nan")}, "value_cost: expected a number, got nan"),
        ({"seed": -1}, r"seed: expected a number from 0 below 2\*\*63, got -1"),
        ({"optimizer": OptimizerConfig(lr=0)}, r"optimizer\.lr: expected a number above 0, got 0"),
        ({"optimizer": OptimizerConfig(alpha=-0.1)}, r"optimizer\.alpha: expected a number from 0 to 1, got -0.1"),
        ({"optimizer": OptimizerConfig(eps=-1.0)}, r"optimizer\.eps: expected 0 or more, got -1.0"),
        ({"optimizer": OptimizerConfig(clip_norm=0)}, r"optimizer\.clip_norm: expected a number above 0, got 0"),
        ({"ppo": PPOConfig(lambda_=2)}, r"ppo\.lambda: expected a number from 0 to 1, got 2"),
        ({"ppo": PPOConfig(epochs=0)}, r"ppo\.epochs: expected 1 or more, got 0"),
        ({"algorithm": "ppo", "ppo": PPOConfig(minibatches=64)}, r"ppo\.minibatches: expected 1 to batch_size = 32, got 64"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(changes, message):
    with pytest.raises(UserError, match=f"^{message}$"):
        check_config(replace(CONFIG, **changes))


def test_a_setting_that_is_switched_off_fits():
    check_config(replace(CONFIG, reward_clip=None, optimizer=OptimizerConfig(clip_norm=None), minutes=1e-3))
