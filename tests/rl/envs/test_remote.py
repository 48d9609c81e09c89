"""gymnasium environments in a process of their own: it shows what one process shows, fails loudly and ends."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("gymnasium", reason="the extra srwm[rl] is not installed")

from srwm.rl.envs import EnvCrashError, EnvSpec, build_env
from srwm.rl.envs.remote import RemoteEnv

from .random_play import config, frames

STARTING = """
import subprocess
import gymnasium, numpy as np

class Starting(gymnasium.Env):
    observation_space, action_space = gymnasium.spaces.Box(0, 1, (2,)), gymnasium.spaces.Discrete(2)

    def __init__(self):
        self.program = subprocess.Popen(["sleep", "30"])

    def reset(self, *, seed=None, options=None):
        return np.zeros(2, np.float32), {}

    def close(self):
        self.program.terminate()
        self.program.wait()

gymnasium.register("Starting-v0", Starting)
"""


def test_processes_show_what_one_process_shows():
    names = ("popgym-RepeatFirstEasy-v0", "popgym-RepeatPreviousEasy-v0")
    pytest.importorskip("popgym", reason="the extra srwm[rl] is not installed")
    with build_env(config(*names, num_envs=5), seed=1) as one, build_env(config(*names, num_envs=5, workers=2), seed=1) as more:
        assert one.names == more.names == (names[0], names[1], names[0], names[1], names[0])
        assert one.spec == more.spec == EnvSpec((4,), "float32", 4)
        for single, several in zip(frames(one, 60), frames(more, 60), strict=True):
            for expected, got in zip(single, several, strict=True):
                np.testing.assert_array_equal(got, expected)
        assert sorted(map(str, one.episodes())) == sorted(map(str, more.episodes()))
        assert more.get_state() is None


def test_a_dead_process_is_reported(faulty):
    with (
        build_env(config(faulty("die"), workers=1), seed=0) as env,
        pytest.raises(EnvCrashError, match=r"Faulty-die-v0 died with exit code 7"),
    ):
        list(frames(env, 5))


def test_a_silent_process_is_reported(faulty):
    env = RemoteEnv([faulty("hang")], [0])
    env.timeout = 0.2
    with pytest.raises(EnvCrashError, match=r"did not respond for 0\.2 s"):
        list(frames(env, 5))
    env._process.kill()
    env.close()


def test_processes_end_with_their_environment():
    env = RemoteEnv(["CartPole-v1"], [0])
    pid = env._process.pid
    env.observe()
    env.close()
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("the process lives on")


def test_a_signal_to_all_processes_is_left_to_the_first_one():
    with build_env(config("CartPole-v1", workers=1), seed=0) as env:
        env.observe()
        for each in (signal.SIGINT, signal.SIGTERM):
            os.kill(multiprocessing.active_children()[0].pid, each)
        assert len(list(frames(env, 20))) == 21


def test_a_program_ends_that_leaves_its_environments_open():
    program = "from srwm.rl.envs.remote import RemoteEnv\nenv = RemoteEnv(['CartPole-v1'], [0])\n"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_what_an_environment_starts_can_be_ended(tmp_path, monkeypatch):
    (tmp_path / "starting.py").write_text(STARTING)
    monkeypatch.syspath_prepend(tmp_path)
    env = RemoteEnv(["starting:Starting-v0"], [0])
    env.observe()
    begun = time.monotonic()
    env.close()
    assert time.monotonic() - begun < 4


def test_a_process_that_is_dropped_ends():
    env = RemoteEnv(["CartPole-v1"], [0])
    process = env._process
    pid = process.pid
    env.observe()
    del env
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
