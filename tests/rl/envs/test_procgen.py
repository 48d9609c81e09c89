import hashlib
from importlib.util import find_spec

import numpy as np
import pytest

from srwm.errors import UserError
from srwm.rl.envs import EnvConfig, EnvSpec, ProcgenConfig, build_env
from srwm.rl.envs.procgen import ProcgenEnv
from srwm.rl.envs.vector import pack, unpack

if not find_spec("procgen") and not find_spec("procgen_gym"):
    pytest.skip("the extra srwm[procgen] is not installed", allow_module_level=True)

FIRST_FRAMES = {  # SHA-256 of the 64 x 64 x 3 bytes of levels 0 and 1000, its first 16 digits
    ("easy", "bigfish"): ("20ab11a8a9ea6c78", "99dbdec5762f6d13"),
    ("easy", "fruitbot"): ("ac4e6db7fce1edcd", "3e449f58b2811b09"),
    ("easy", "maze"): ("07d560a2efaae87c", "b8ff428437bcdb80"),
    ("easy", "leaper"): ("064742d23f2e0509", "b173e7e5c6e483c6"),
    ("easy", "plunder"): ("42919f45456b39ef", "4d9435e502c98170"),
    ("easy", "starpilot"): ("cc08b1f048eae33a", "cabc702acde91b63"),
    ("memory", "dodgeball"): ("240b996836b899f9", "752e7ffbec6cb47e"),
    ("memory", "heist"): ("2519d3aabb2dccca", "35c58bad6de8c8a1"),
    ("memory", "maze"): ("dd62a3c15577b2b3", "bc652fccb666c477"),
    ("memory", "miner"): ("849e77070371ec89", "aa59d5e28853e323"),
}
SIX = EnvConfig(num_envs=8)


def steps(env, count, seed=0):
    """The frame at hand and one after each of random actions."""
    random = np.random.default_rng(seed)
    yield env.observe()
    for _ in range(count):
        env.act(random.integers(env.spec.num_actions, size=env.num_envs))
        yield env.observe()


def assert_equal_frames(one, other):
    for expected, got in zip(one, other, strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(("mode", "game"), FIRST_FRAMES)
def test_levels_are_the_published_ones(mode, game):
    for level, expected in zip((0, 1000), FIRST_FRAMES[mode, game], strict=True):
        with ProcgenEnv(game, 1, ProcgenConfig(mode, num_levels=1, start_level=level), seed=level) as env:
            image = env.observe().observation[0].transpose(1, 2, 0)
            assert hashlib.sha256(image.tobytes()).hexdigest()[:16] == expected


@pytest.mark.skipif(not find_spec("procgen"), reason="the package procgen is not installed")
def test_no_reset_is_lost():
    """Against the library itself: every frame, reward and episode; observations are its images, channels first."""
    with ProcgenEnv("maze", 4, ProcgenConfig(), seed=5) as env:
        by_hand = env._library._env.__class__(
            num=4, env_name="maze", distribution_mode="easy", num_levels=200, start_level=0, num_threads=0,
            rand_seed=env._library._env.options["rand_seed"],
        )  # fmt: skip
        assert env.spec == EnvSpec((3, 64, 64), "uint8", by_hand.ac_space.eltype.n)
        random = np.random.default_rng(0)
        returns, lengths, ended = np.zeros(4), np.zeros(4, int), []
        for step, frame in enumerate(steps(env, 600)):
            if step:
                by_hand.act(random.integers(15, size=4))
            reward, seen, first = by_hand.observe()
            assert_equal_frames((seen["rgb"].transpose(0, 3, 1, 2), reward, first), frame.arrays)
            returns, lengths = returns + reward, lengths + (step > 0)
            for row in np.flatnonzero(first * (step > 0)):
                ended.append((returns[row], lengths[row]))
                returns[row] = lengths[row] = 0
        by_hand.close()
        episodes = env.episodes()
        assert len(ended) > 2
        assert [(episode.task, episode.return_, episode.length) for episode in episodes] == [("maze", *each) for each in ended]


def test_games_take_turns():
    with build_env(SIX, seed=0) as env:
        assert env.names == (*SIX.names, "bigfish", "fruitbot")
        frame = env.observe()
        assert (frame.observation.shape, frame.observation.dtype) == ((8, 3, 64, 64), np.uint8)
        assert frame.first.all()
        assert not frame.reward.any()
        for k, game in enumerate(SIX.names):
            np.testing.assert_array_equal(frame.observation[k::6], env.parts[k].observe().observation)
            assert env.parts[k].names == (game,) * (2 if k < 2 else 1)


def test_seeds_decide_and_threads_do_not():
    def shown(seed, threads=1):
        config = EnvConfig(names=("bigfish", "leaper"), num_envs=4, procgen=ProcgenConfig(threads=threads))
        with build_env(config, seed) as env:
            return list(steps(env, 60))

    first = shown(1)
    for frame, again in zip(first, shown(1, threads=2), strict=True):
        assert_equal_frames(frame, again)
    assert not np.array_equal(first[0].observation, shown(2)[0].observation)


@pytest.mark.parametrize(
    "config", [SIX, EnvConfig(names=("dodgeball", "heist", "maze", "miner"), num_envs=4, procgen=ProcgenConfig("memory", 500))]
)
def test_a_run_continues_from_its_state_bit_by_bit(config):
    with build_env(config, seed=1) as env, build_env(config, seed=2) as other:
        for _ in steps(env, 150, seed=1):
            pass
        env.episodes()
        state = env.get_state()
        for _ in steps(other, 20, seed=2):
            pass
        other.episodes()
        other.set_state(state)
        for frame, again in zip(steps(env, 150), steps(other, 150), strict=True):
            assert_equal_frames(frame, again)
        ended = env.episodes()
        assert ended or config is not SIX
        assert other.episodes() == ended
        assert other.get_state() == env.get_state()


def test_a_state_is_taken_after_the_step_under_way():
    config = EnvConfig(names=("bigfish",), num_envs=2)
    with build_env(config, seed=1) as env, build_env(config, seed=2) as other:
        env.observe()
        env.act([3, 9])
        other.set_state(env.get_state())
        assert_equal_frames(env.observe(), other.observe())


@pytest.mark.parametrize(
    "other",
    [
        EnvConfig(names=("leaper", "maze"), num_envs=2),
        EnvConfig(names=("maze",), num_envs=3),
        EnvConfig(names=("maze",), num_envs=2, procgen=ProcgenConfig(num_levels=5)),
        EnvConfig(names=("leaper",), num_envs=2),
    ],
)
def test_the_state_of_other_environments_is_refused(other):
    with build_env(EnvConfig(names=("maze",), num_envs=2), seed=0) as env, build_env(other, seed=0) as another:
        with pytest.raises(ValueError, match="state: expected"):
            env.set_state(another.get_state())
        env.observe()
        env.act([0, 1])
        env.observe()


@pytest.mark.parametrize(
    "edit",
    [
        lambda saved: saved["sizes"].__setitem__(0, saved["sizes"][0] + 8),
        lambda saved: saved["sizes"].__setitem__(slice(None), saved["sizes"] + [8, -8]),
        lambda saved: saved["sizes"].__setitem__(slice(None), [0, saved["sizes"].sum()]),
        lambda saved: saved.update(sizes=saved["sizes"][:1]),
        lambda saved: saved.update(sizes=saved["sizes"].astype(float)),
        lambda saved: saved["games"].__setitem__(8, 0),
        lambda saved: saved.pop("games"),
        lambda saved: saved.update(first=saved["first"][:1]),
    ],
)
def test_an_edited_state_is_an_error_and_no_end_of_the_process(edit):
    with build_env(EnvConfig(names=("maze",), num_envs=2), seed=0) as env:
        (part,) = env.parts
        env.observe()
        saved = unpack(part.get_state())
        edit(saved)
        with pytest.raises(ValueError, match=r"state: expected the states of 2 environments of maze"):
            part.set_state(pack(saved))
        env.act([0, 1])
        env.observe()


def test_actions_have_the_names_of_their_keys():
    with build_env(EnvConfig(names=("maze",), num_envs=2), seed=0) as env:
        assert env.action_names()[:5] == ("left+down", "left", "left+up", "down", "nothing")
        assert env.correct_actions() == (None, None)


def test_games_and_levels_that_do_not_exist_are_refused():
    with pytest.raises(UserError, match="no ProcGen game 'tetris' with easy levels, only bigfish"):
        build_env(EnvConfig(names=("tetris",)), seed=0)
    with pytest.raises(UserError, match="no ProcGen game 'bigfish' with memory levels, only caveflyer"):
        build_env(EnvConfig(names=("bigfish",), procgen=ProcgenConfig("memory")), seed=0)
    with pytest.raises(UserError, match=r"procgen\.num_levels: expected a number from 0 below 2\*\*31, got -1"):
        build_env(EnvConfig(procgen=ProcgenConfig(num_levels=-1)), seed=0)
