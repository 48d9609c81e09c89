import sys
from contextlib import nullcontext

import numpy as np
import pytest

gymnasium = pytest.importorskip("gymnasium", reason="the extra srwm[rl] is not installed")

from gymnasium import spaces  # noqa: E402

from srwm.errors import UserError  # noqa: E402
from srwm.rl.envs import EnvConfig, EnvCrashError, EnvSpec, build_env  # noqa: E402

from .random_play import config, frames  # noqa: E402


def test_no_reset_is_lost():
    """Against one environment stepped by hand: every observation, reward and episode."""
    with build_env(config("CartPole-v1", num_envs=1), seed=3) as env:
        by_hand = gymnasium.make("CartPole-v1")
        random = np.random.default_rng(0)
        returns = total = episodes = 0
        seen, _ = by_hand.reset(seed=env._seeds[0])
        for step, frame in enumerate(frames(env, 200)):
            if step:
                seen, reward, terminated, truncated, _ = by_hand.step(int(random.integers(2, size=1)[0]))
                total += reward
                assert frame.reward[0] == reward
                assert frame.first[0] == (terminated or truncated)
                if terminated or truncated:
                    returns, total, episodes = returns + total, 0, episodes + 1
                    seen, _ = by_hand.reset()
            np.testing.assert_array_equal(frame.observation[0], seen)
        ended = env.episodes()
        assert episodes > 5
        assert (len(ended), sum(episode.return_ for episode in ended)) == (episodes, returns)
        assert sum(episode.length for episode in ended) == returns
        by_hand.close()


LIMITED = """
import gymnasium, numpy as np

class Limited(gymnasium.Env):
    observation_space, action_space = gymnasium.spaces.Box(-9, 9, (2,)), gymnasium.spaces.Discrete(2)
    obs_requires_prev_action = True

    def __init__(self, ends):
        self.ends = ends

    def reset(self, *, seed=None, options=None):
        self.steps = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.steps += 1
        return np.full(2, self.steps, np.float32), 1.0, self.steps == self.ends, False, {}

for ends in (0, 3, 5):
    gymnasium.register(f"Limited{ends}-v0", Limited, max_episode_steps=3, kwargs={"ends": ends})
"""


@pytest.mark.parametrize("workers", [0, 2])
def test_a_time_limit_comes_with_the_final_observation(tmp_path, monkeypatch, workers):
    """And not where the episode ends by itself in the same step. The final observation is encoded as all others are."""
    (tmp_path / "limited.py").write_text(LIMITED)
    monkeypatch.syspath_prepend(tmp_path)
    names = ("limited:Limited0-v0", "limited:Limited3-v0", "limited:Limited5-v0")
    with build_env(config(*names, num_envs=3, workers=workers), seed=0) as env:
        for step in range(7):
            frame = env.observe()
            assert frame.first.all() == (step % 3 == 0)
            if step in (3, 6):
                assert list(frame.truncation.rows) == [0, 2]
                assert frame.truncation.observation.dtype == np.float32
                np.testing.assert_array_equal(frame.truncation.observation, [[3, 3, 0, 1], [3, 3, 0, 1]])
                np.testing.assert_array_equal(frame.observation, np.zeros((3, 4)))
                np.testing.assert_array_equal(frame.reward, 1)
            else:
                assert frame.truncation is None
            env.act([1, 1, 1])


def test_a_final_observation_is_not_what_the_reset_writes():
    """The environment shows one buffer again and again."""
    buffer = np.zeros((4, 5, 3), np.uint8)

    class Drawing(gymnasium.Env):
        observation_space, action_space = IMAGE, spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            buffer[:] = 1
            return buffer, {}

        def step(self, action):
            buffer[:] = 7
            return buffer, 0.0, False, False, {}

    gymnasium.register("Drawing-v0", Drawing, max_episode_steps=1)
    with build_env(config("Drawing-v0", num_envs=1), seed=0) as env:
        env.observe()
        env.act([0])
        frame = env.observe()
        assert (frame.observation == 1).all()
        assert (frame.truncation.observation == 7).all()
    del gymnasium.registry["Drawing-v0"]


def test_seeds_decide():
    def shown(seed):
        with build_env(config("CartPole-v1"), seed) as env:
            return np.stack([frame.observation for frame in frames(env, 30)])

    first = shown(1)
    np.testing.assert_array_equal(shown(1), first)
    assert not np.array_equal(shown(2), first)
    assert not np.array_equal(first[:, 0], first[:, 1])


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_comes_with_its_traceback(faulty, workers):
    with build_env(config(faulty("raise"), workers=workers), seed=0) as env:
        with pytest.raises(EnvCrashError) as caught:
            list(frames(env, 5))
        message = str(caught.value)
        assert "environment 0" in message
        assert faulty("raise") in message
        assert 'raise ZeroDivisionError("the third step")' in message


@pytest.mark.parametrize("workers", [0, 1])
def test_an_environment_that_exits_does_not_end_the_program(faulty, workers):
    with (
        build_env(config(faulty("exit"), workers=workers), seed=0) as env,
        pytest.raises(EnvCrashError, match=r"environment 0 .*Faulty-exit-v0(.|\n)*SystemExit: 0"),
    ):
        list(frames(env, 5))


VECTOR, IMAGE = spaces.Box(-9, 9, (4,)), spaces.Box(0, 255, (4, 5, 3), np.uint8)


@pytest.mark.parametrize("method", ["reset", "step"])
def test_an_environment_that_raises_generator_exit_has_failed(method):
    class Leaving(gymnasium.Env):
        observation_space, action_space = VECTOR, spaces.Discrete(2)

        def leave(self, where):
            if where == method:
                raise GeneratorExit

        def reset(self, *, seed=None, options=None):
            self.leave("reset")
            return np.zeros(VECTOR.shape, np.float32), {}

        def step(self, action):
            self.leave("step")
            return np.zeros(VECTOR.shape, np.float32), 0.0, False, False, {}

    gymnasium.register("Leaving-v0", Leaving)
    with (
        build_env(config("Leaving-v0"), seed=0) as env,
        pytest.raises(EnvCrashError, match=r"environment 0 \(Leaving-v0\) failed(.|\n)*GeneratorExit"),
    ):
        list(frames(env, 2))
    del gymnasium.registry["Leaving-v0"]


def build_given(space, seen, reward=0.0, ended=False):
    """An environment of a module's own that returns what it is configured to."""

    class Given(gymnasium.Env):
        observation_space, action_space = space, spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            return seen, {}

        def step(self, action):
            return seen, reward, ended, False, {}

    gymnasium.register("Given-v0", Given)
    try:
        return build_env(config("Given-v0", num_envs=1), seed=0)
    finally:
        del gymnasium.registry["Given-v0"]


@pytest.mark.parametrize(
    ("space", "seen", "message"),
    [
        (VECTOR, 0.5, r"expected \(4,\) float32, got \(\) float64"),
        (VECTOR, np.zeros(1), r"expected \(4,\) float32, got \(1,\) float64"),
        (VECTOR, np.zeros((1, 4)), r"expected \(4,\) float32, got \(1, 4\) float64"),
        (VECTOR, np.zeros(4, np.complex64), r"expected \(4,\) float32, got \(4,\) complex64"),
        (VECTOR, ["1", "2", "3", "4"], r"expected \(4,\) float32, got \(4,\) <U1"),
        (VECTOR, None, r"expected \(4,\) float32, got \(\) object"),
        (IMAGE, np.zeros((1, 1, 3), np.uint8), r"expected \(4, 5, 3\) uint8, got \(1, 1, 3\) uint8"),
        (IMAGE, np.full((4, 5, 3), 0.5), r"expected uint8 numbers, got float64 from 0.5 to 0.5"),
        (IMAGE, np.full((4, 5, 3), 256), r"expected uint8 numbers, got int64 from 256 to 256"),
        (spaces.Discrete(3), -1, r"expected one of Discrete\(3\), got -1"),
        (spaces.Discrete(3), 1.0, r"expected one of Discrete\(3\), got 1.0"),
        (spaces.MultiDiscrete([2, 3]), np.array([2, 0]), r"expected one of MultiDiscrete"),
        (spaces.Tuple([VECTOR, VECTOR]), (np.zeros(4), np.zeros(1)), r"expected \(4,\) float32, got \(1,\)"),
        (spaces.Dict({"a": VECTOR}), {"a": np.zeros(1)}, r"expected \(4,\) float32, got \(1,\)"),
    ],
)
def test_an_observation_that_its_space_does_not_hold_is_a_crash(space, seen, message):
    with build_given(space, seen) as env, pytest.raises(EnvCrashError, match=f"ValueError: observation: {message}"):
        env.observe()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"reward": "1"}, r"reward: expected a number, got \(\) <U1"),
        ({"reward": 1 + 1j}, r"reward: expected a number, got \(\) complex128"),
        ({"reward": np.ones(2)}, r"reward: expected a number, got \(2,\) float64"),
        ({"reward": None}, r"reward: expected a number, got \(\) object"),
        ({"ended": "False"}, r"terminated: expected a number, got \(\) <U5"),
    ],
)
def test_a_reward_or_an_end_of_another_kind_is_a_crash(given, message):
    with build_given(VECTOR, np.zeros(4), **given) as env:
        env.observe()
        env.act([0])
        with pytest.raises(EnvCrashError, match=f"ValueError: {message}"):
            env.observe()


@pytest.mark.parametrize("seen", [[1, 2, 3, 4], np.arange(4), np.zeros(4, np.float64), np.ones(4, bool)])
def test_real_numbers_of_any_type_are_taken(seen):
    with build_given(VECTOR, seen, reward=np.float64(2), ended=np.bool_(True)) as env:
        np.testing.assert_array_equal(env.observe().observation[0], seen)
        env.act([0])
        assert env.observe().reward[0] == 2


EXITING = {
    "module": "import sys\nsys.exit(0)\n",
    "constructor": "import sys, gymnasium\nclass Exiting(gymnasium.Env):\n    def __init__(self):\n        sys.exit(0)\n"
    "gymnasium.register('Exiting-v0', Exiting)\n",
}


@pytest.mark.parametrize("where", EXITING)
def test_a_module_or_constructor_that_exits_is_the_users_mistake(tmp_path, monkeypatch, where):
    (tmp_path / f"exiting_{where}.py").write_text(EXITING[where])
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="Exiting-v0: SystemExit: 0"):
        build_env(config(f"exiting_{where}:Exiting-v0"), seed=0)


def test_environments_that_fail_to_close_are_all_closed():
    closed = []

    class Closing(gymnasium.Env):
        observation_space, action_space = VECTOR, spaces.Discrete(2)

        def close(self):
            closed.append(self)
            raise SystemExit(0)

    gymnasium.register("Closing-v0", Closing)
    env = build_env(config("Closing-v0"), seed=0)
    del gymnasium.registry["Closing-v0"]
    with pytest.raises(EnvCrashError, match=r"environment 0 \(Closing-v0\) failed"):
        env.close()
    assert len(closed) == 2


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unknown_id_is_the_users_mistake(workers):
    with pytest.raises(UserError, match="NoSuchTask"):
        build_env(config("NoSuchTask-v0", workers=workers), seed=0)


def test_tasks_that_differ_cannot_be_mixed():
    with pytest.raises(UserError, match="cannot be learned together"):
        build_env(config("CartPole-v1", "Acrobot-v1"), seed=0)


def test_continuous_actions_are_refused():
    with pytest.raises(UserError, match="MountainCarContinuous-v0: actions must be discrete"):
        build_env(config("MountainCarContinuous-v0"), seed=0)


def test_popgym_is_seen_one_hot():
    pytest.importorskip("popgym", reason="the extra srwm[rl] is not installed")
    with build_env(config("popgym-AutoencodeEasy-v0"), seed=0) as env:
        assert env.spec == EnvSpec((6,), "float32", 4)
        for frame in frames(env, 110):
            np.testing.assert_array_equal(frame.observation[:, :2].sum(1), 1)
            np.testing.assert_array_equal(frame.observation[:, 2:].sum(1), 1)
        assert [episode.length for episode in env.episodes()] == [103, 103]


def test_an_agent_that_repeats_the_first_card_gets_every_reward():
    pytest.importorskip("popgym", reason="the extra srwm[rl] is not installed")
    with build_env(config("popgym-RepeatFirstEasy-v0", num_envs=3), seed=0) as env:
        frame = env.observe()
        card = np.zeros(3, dtype=np.int64)
        for _ in range(110):
            card = np.where(frame.first, frame.observation.argmax(1), card)
            env.act(card)
            frame = env.observe()
        ended = env.episodes()
        assert len(ended) == 6
        np.testing.assert_allclose([episode.return_ for episode in ended], 1, rtol=1e-6)


def test_the_previous_action_is_seen_where_a_task_needs_it():
    pytest.importorskip("popgym", reason="the extra srwm[rl] is not installed")
    with build_env(config("popgym-MultiarmedBanditEasy-v0"), seed=0) as env:
        assert env.spec == EnvSpec((12,), "float32", 10)
        assert not env.observe().observation[:, 2:].any()
        for step in range(200):
            env.act([step % 10, 3])
            frame = env.observe()
            expected = np.zeros((2, 10)) if frame.first.all() else np.eye(10)[[step % 10, 3]]
            np.testing.assert_array_equal(frame.observation[:, 2:], expected)
        assert frame.first.all()


@pytest.mark.parametrize(("name", "delay"), [("popgym-RepeatFirstEasy-v0", None), ("popgym-RepeatPreviousEasy-v0", 3)])
def test_the_right_answer_earns_every_reward(name, delay):
    pytest.importorskip("popgym", reason="the extra srwm[rl] is not installed")
    with build_env(config(name, num_envs=2), seed=0) as env:
        env.observe()
        for step in range(51):
            right = env.correct_actions()
            assert (right == (None, None)) == (delay is not None and step < delay)
            env.act([0 if each is None else each for each in right])
            frame = env.observe()
            assert frame.reward.all() == (right != (None, None))
        assert frame.first.all()
        np.testing.assert_allclose([episode.return_ for episode in env.episodes()], 1, rtol=1e-6)
        assert env.action_names() == ()


def test_minigrid_s_actions_have_names():
    pytest.importorskip("minigrid", reason="the extra srwm[rl] is not installed")
    with build_env(config("MiniGrid-MemoryS7-v0", num_envs=1), seed=0) as env:
        assert env.action_names() == ("left", "right", "forward", "pickup", "drop", "toggle", "done")
        assert env.correct_actions() == (None,)


def test_minigrid_is_seen_as_its_own_wrapper_encodes_it():
    wrappers = pytest.importorskip("minigrid.wrappers", reason="the extra srwm[rl] is not installed")
    with build_env(config("MiniGrid-MemoryS7-v0", num_envs=1), seed=0) as env:
        assert env.spec == EnvSpec((980,), "float32", 7)
        by_hand = wrappers.OneHotPartialObsWrapper(gymnasium.make("MiniGrid-MemoryS7-v0"))
        seen, _ = by_hand.reset(seed=env._seeds[0])
        np.testing.assert_array_equal(env.observe().observation[0], seen["image"].ravel())
        for action in (2, 0, 2, 1, 2):
            env.act([action])
            np.testing.assert_array_equal(env.observe().observation[0], by_hand.step(action)[0]["image"].ravel())


@pytest.mark.parametrize(("name", "message"), [("MiniGrid-GoToDoor-5x5-v0", True), ("MiniGrid-MemoryS7-v0", False)])
def test_missions_that_are_not_observed_cause_a_warning(name, message):
    pytest.importorskip("minigrid", reason="the extra srwm[rl] is not installed")
    seen = (
        pytest.warns(UserWarning, match=f"{name}: its episodes differ in their mission") if message else nullcontext()
    )  # where a warning is an error
    with seen, build_env(config(name, num_envs=1), seed=0):
        pass


def test_a_missing_package_of_tasks_is_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "popgym", None)
    with pytest.raises(UserError, match=r"RepeatFirstEasy-v0: popgym is not installed: pip install 'srwm\[rl\]'"):
        build_env(config("popgym-RepeatFirstEasy-v0"), seed=0)


def test_environments_that_cannot_continue_from_a_state_have_other_episodes_after_a_resume() -> None:
    config = EnvConfig(kind="gymnasium", names=("CartPole-v1",), num_envs=2)
    shown = []
    for resumed_at in (0, 5, 5, 9):
        with build_env(config, 0, resumed_at) as env:
            shown.append(env.observe().observation)
    assert (shown[1] == shown[2]).all()
    assert all((a != b).any() for a, b in ((shown[0], shown[1]), (shown[1], shown[3])))
