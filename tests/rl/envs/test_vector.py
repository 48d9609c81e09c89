import io

import numpy as np
import pytest

from srwm.errors import UserError
from srwm.rl.envs import EnvCrashError, EnvSpec, Episode, Frame, Truncation
from srwm.rl.envs.vector import RoundRobin, SteppedEnv, pack, unpack

SPEC = EnvSpec((3, 2, 2), "uint8", 5)


class CountingEnv(SteppedEnv):
    """Shows 10 * identity + steps taken, rewards with the action; every `length` steps its episodes end."""

    def __init__(self, names, identities, length, spec=SPEC):
        super().__init__(spec, names)
        self.identities, self.length, self.steps, self.shut = np.array(identities), length, 0, 0
        self.rewards = np.zeros(len(names), dtype=np.int64)

    def _start(self, actions):
        self.steps, self.rewards = self.steps + 1, actions

    def _wait(self):
        shown = np.broadcast_to((10 * self.identities + self.steps)[:, None, None, None], (self.num_envs, 2, 2, 3))
        first = np.full(self.num_envs, self.steps % self.length == 0)
        return Frame(shown.astype(np.uint8).transpose(0, 3, 1, 2), self.rewards.astype(np.float32), first)

    def _shut(self):
        self.shut += 1


class CrashingEnv(CountingEnv):
    def _wait(self):
        self.rewards[0] += 1
        raise EnvCrashError(f"attempt {self.rewards[0]}")


def five_rows():
    return RoundRobin([CountingEnv(["a", "a", "a"], [0, 2, 4], length=2), CountingEnv(["b", "b"], [1, 3], length=3)])


def test_rows_take_turns():
    env = five_rows()
    assert env.names == ("a", "b", "a", "b", "a")
    frame = env.observe()
    np.testing.assert_array_equal(frame.observation[:, 0, 0, 0], [0, 10, 20, 30, 40])
    assert frame.first.all()
    env.act([4, 3, 2, 1, 0])
    frame = env.observe()
    np.testing.assert_array_equal(frame.observation[:, 0, 0, 0], [1, 11, 21, 31, 41])
    np.testing.assert_array_equal(frame.reward, [4, 3, 2, 1, 0])
    env.act([0] * 5)
    np.testing.assert_array_equal(env.observe().first, [True, False, True, False, True])


class LimitedEnv(CountingEnv):
    """Its episodes are cut off by a time limit, with a final observation of 100 + identity."""

    def _wait(self):
        frame = super()._wait()
        finals = np.broadcast_to((100 + self.identities)[:, None, None, None], frame.observation.shape).astype(np.uint8)
        rows = np.arange(self.num_envs)
        return frame._replace(truncation=Truncation(rows, finals) if self.steps and frame.first.all() else None)


def test_episodes_that_are_cut_off_keep_their_rows():
    env = RoundRobin([LimitedEnv(["a", "a", "a"], [0, 2, 4], length=2), LimitedEnv(["b", "b"], [1, 3], length=3)])
    cut_off = []
    for _ in range(7):
        cut_off.append(env.observe().truncation)
        env.act([0] * 5)
    assert [None if found is None else list(found.rows) for found in cut_off] == [
        None, None, [0, 2, 4], [1, 3], [0, 2, 4], None, [0, 1, 2, 3, 4]
    ]  # fmt: skip
    assert list(cut_off[-1].observation[:, 0, 0, 0]) == [100, 101, 102, 103, 104]
    assert cut_off[-1].observation.shape == (5, 3, 2, 2)


def test_images_stay_channels_last_in_memory():
    assert five_rows().observe().observation.transpose(0, 2, 3, 1).flags.c_contiguous


def test_frames_have_the_types_of_the_interface():
    frame = five_rows().observe()
    assert [field.dtype for field in frame.arrays] == [np.uint8, np.float32, np.bool_]
    assert [field.shape for field in frame.arrays] == [(5, 3, 2, 2), (5,), (5,)]


def test_returns_and_lengths_are_those_counted_by_hand():
    env = five_rows()
    for step in range(3):
        env.observe()
        env.act([step, 4, 0, 0, 1])
    env.observe()
    assert env.episodes() == [
        Episode("a", 1, 2),
        Episode("a", 0, 2),
        Episode("a", 2, 2),
        Episode("b", 12, 3),
        Episode("b", 0, 3),
    ]
    assert env.episodes() == []


def test_an_episode_ends_once_however_often_it_is_observed():
    env = CountingEnv(["a"], [0], length=1)
    env.observe()
    env.act([2])
    assert env.observe() is env.observe()
    assert env.episodes() == [Episode("a", 2, 1)]


@pytest.mark.parametrize("actions", [[0] * 4, [0.0] * 5, [0, 0, 0, 0, 5], [0, 0, 0, 0, -1], [[0] * 5]])
def test_wrong_actions_are_refused(actions):
    env = five_rows()
    env.observe()
    with pytest.raises(ValueError, match="actions: expected"):
        env.act(actions)
    env.act([0] * 5)


def test_a_step_that_was_not_observed_is_not_skipped():
    env = five_rows()
    with pytest.raises(RuntimeError, match="not been observed"):
        env.act([0] * 5)
    env.observe()
    env.act([0] * 5)
    with pytest.raises(RuntimeError, match="not been observed"):
        env.act([0] * 5)


def test_tasks_that_differ_in_shape_do_not_mix():
    with pytest.raises(UserError, match="a and b cannot be learned together"):
        RoundRobin([CountingEnv(["a"], [0], 1), CountingEnv(["b"], [1], 1, EnvSpec((4,), "float32", 5))])


def test_numbers_of_rows_that_do_not_go_round_are_refused():
    with pytest.raises(ValueError, match="expected 2 environments of a, got 1"):
        RoundRobin([CountingEnv(["a"], [0], 1), CountingEnv(["b", "b"], [1, 3], 1)])


def test_a_crash_is_reported_again_and_nothing_steps_after_it():
    env = CrashingEnv(["a"], [0], 1)
    for _ in range(2):
        with pytest.raises(EnvCrashError, match="attempt 1"):
            env.observe()


def test_without_states_there_is_none():
    env = five_rows()
    assert env.get_state() is None


def test_closing_is_done_once():
    env = five_rows()
    with env:
        env.observe()
    env.close()
    assert [part.shut for part in env.parts] == [1, 1]
    with pytest.raises(RuntimeError, match="closed"):
        env.observe()


def test_arrays_come_back():
    arrays = {"a": np.arange(5, dtype=np.int64), "b": np.array("text"), "c": np.zeros((0, 3), np.float32)}
    back = unpack(pack(arrays))
    assert back.keys() == arrays.keys()
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)


@pytest.mark.parametrize("where", [0.1, 0.5, 0.9])
def test_damage_is_noticed(where):
    state = bytearray(pack({"a": np.random.default_rng(0).integers(256, size=5000).astype(np.uint8)}))
    state[int(len(state) * where)] ^= 255
    with pytest.raises(ValueError, match="damaged"):
        unpack(bytes(state))


def test_an_edit_is_noticed():
    file = io.BytesIO(pack({"a": np.arange(5)}))
    arrays = dict(np.load(file))
    arrays["a"][2] = 7
    edited = io.BytesIO()
    np.savez(edited, **arrays)
    with pytest.raises(ValueError, match="damaged"):
        unpack(edited.getvalue())


@pytest.mark.parametrize("state", [b"", b"something else", pack({"a": np.arange(9)})[:-30]])
def test_other_bytes_are_refused(state):
    with pytest.raises(ValueError, match="damaged"):
        unpack(state)


def test_objects_are_not_unpickled():
    file = io.BytesIO()
    np.savez(file, a=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="damaged"):
        unpack(file.getvalue())
