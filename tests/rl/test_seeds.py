"""Nothing random is shared by two processes of a training, two trainings, or a training and what is played after it."""

import pytest

from srwm.rl.envs import EnvConfig, build_env
from srwm.rl.seeds import evaluation_seed, process_seed


def test_no_two_uses_of_seeds_are_alike() -> None:
    given = range(30)
    training = [process_seed(seed, rank) for seed in given for rank in range(8)]
    assert len({*training, *map(evaluation_seed, given)}) == 9 * len(given)


def test_one_process_trains_with_the_seed_itself() -> None:
    assert [process_seed(seed, 0) for seed in (0, 1, 2**40)] == [0, 1, 2**40]


@pytest.mark.parametrize("other", [evaluation_seed(1), process_seed(0, 1), evaluation_seed(0)])
def test_first_frames_differ(other) -> None:
    pytest.importorskip("gymnasium", exc_type=ImportError)
    config = EnvConfig("gymnasium", ("CartPole-v1",), num_envs=8)
    with build_env(config, process_seed(1, 0)) as training, build_env(config, other) as another:
        shown, others = training.observe().observation, another.observe().observation
    assert not (shown[:, None] == others).all(-1).any()
