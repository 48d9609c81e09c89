import pytest

FAULTY = """
import os, sys, time
import gymnasium, numpy as np

class Faulty(gymnasium.Env):
    observation_space, action_space = gymnasium.spaces.Box(0, 1, (2,)), gymnasium.spaces.Discrete(2)

    def __init__(self, fault):
        self.fault, self.steps = fault, 0

    def reset(self, *, seed=None, options=None):
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.steps += 1
        if self.steps == 3:
            if self.fault == "raise":
                raise ZeroDivisionError("the third step")
            if self.fault == "die":
                os._exit(7)
            if self.fault == "exit":
                sys.exit(0)
            time.sleep(60)
        return np.ones(2, np.float32), 0.0, False, False, {}

for fault in ("raise", "die", "exit", "hang"):
    gymnasium.register(f"Faulty-{fault}-v0", Faulty, kwargs={"fault": fault})
"""


@pytest.fixture
def faulty(tmp_path, monkeypatch):
    (tmp_path / "faulty_environments.py").write_text(FAULTY)
    monkeypatch.syspath_prepend(tmp_path)
    return "faulty_environments:Faulty-{}-v0".format
