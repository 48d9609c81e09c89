"""Frames per second of acting and learning in six ProcGen games: this package against plain PyTorch, in one run.

    python benchmarks/rl.py --json rl.json

Each variant has a process of its own, since waiting OpenMP threads and the allocator are settings of a process.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro

from srwm.cli.process import prepare_process

VARIANTS = {
    "bf16": "srwm, stem in bfloat16",
    "float32": "srwm, float32",
    "bf16-lstm": "the same agent with an LSTM, stem in bfloat16",
    "loop": "the same agent in float32 with a Python loop over time, reference operations, PyTorch's defaults",
}


@dataclass(frozen=True)
class Options:
    """Time acting and learning."""

    variants: tuple[str, ...] = tuple(VARIANTS)
    """which of bf16, float32, bf16-lstm, loop"""
    phases: int = 4
    """timed phases: in each, 48 environments act for 50 steps, and the agent learns from the unrolls, 32 at a time"""
    threads: int = 2
    """threads of PyTorch"""
    preset: str = "paper-procgen-easy6"
    """what is timed"""
    json: Path | None = None
    """where the numbers go, besides the terminal"""
    variant: str | None = None
    """time this one in this process and print its numbers as JSON"""


def main(options: Options) -> None:
    if options.variant is not None:
        print(json.dumps(measure(options.variant, options)))
        return
    results = {name: in_process_of_its_own(name, options) for name in options.variants}
    print(f"{'variant':<10} {'frames/s':>9} {'acting':>8} {'learning':>9} {'core':>6} {'checkpoint':>11}")
    for name, row in results.items():
        speed, acting, core = row["frames_per_second"], row["acting"], row["core"]
        saving = f"{row['checkpoint']:11.1%}"
        print(f"{name:<10} {speed:9.0f} {acting:8.1%} {1 - acting:9.1%} {core:6.1%} {saving}   {VARIANTS[name]}")
    if options.json is not None:
        options.json.write_text(
            json.dumps({"threads": options.threads, "machine": machine(), "variants": results}, indent=2) + "\n"
        )


def in_process_of_its_own(name: str, options: Options) -> dict[str, float]:
    command = [sys.executable, __file__, "--variant", name, "--phases", str(options.phases), "--threads", str(options.threads)]
    command += ["--preset", options.preset]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def measure(name: str, options: Options) -> dict[str, float]:
    """Frames per second, the share of acting in the time, and the share of the core."""
    if name != "loop":
        prepare_process()

    import torch
    from lightning_fabric import Fabric

    from srwm.rl.agent import Agent
    from srwm.rl.envs import build_env
    from srwm.rl.presets import PRESETS, with_core
    from srwm.rl.rollout import Actor, Waiting
    from srwm.rl.update import Learner

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    config = with_core(PRESETS[options.preset][1], "lstm" if name.endswith("lstm") else "srwm")
    precision = "bfloat16" if name.startswith("bf16") else "float32"
    config = replace(config, agent=replace(config.agent, precision=precision))
    with build_env(config.env, seed=0) as env:
        agent = plain_agent(config.agent, env.spec) if name == "loop" else Agent(config.agent, env.spec)
        generator = torch.Generator().manual_seed(0)
        learner = Learner(agent, config, Fabric(accelerator="cpu", devices=1), generator)
        actor = Actor(agent, env, config.unroll_length, generator)
        waiting = Waiting()
        acting = learning = 0.0
        warm_up = 2
        processor = 0.0
        for phase in range(warm_up + options.phases):
            if phase == warm_up:
                acting = learning = 0.0
                processor = time.process_time()
            begun = time.perf_counter()
            waiting.put(actor.unroll()[0])
            acted = time.perf_counter()
            while len(waiting) >= config.batch_size:
                learner.update(waiting.take(config.batch_size), config.optimizer.lr)
            acting, learning = acting + acted - begun, learning + time.perf_counter() - acted
        processor = time.process_time() - processor
        saving = checkpoint_seconds(agent, learner, actor, waiting)
    frames = options.phases * env.num_envs * config.unroll_length
    updates = frames / (config.batch_size * config.unroll_length)
    per_frame = core_seconds(agent, config, env.num_envs) / (env.num_envs * config.unroll_length)
    total = acting + learning
    return {
        "frames_per_second": frames / total,
        "acting": acting / total,
        "core": per_frame * frames / total,
        "checkpoint": saving / (total / updates),
        "checkpoint_seconds": saving,
        "frames_per_processor_second": frames / processor,
    }


def checkpoint_seconds(agent: Any, learner: Any, actor: Any, waiting: Any) -> float:
    """Time of a checkpoint as training writes it, on disk when it returns."""
    from srwm.training.checkpoint import Checkpoints

    with tempfile.TemporaryDirectory(dir=".") as folder:
        checkpoints, steps = Checkpoints(Path(folder)), iter(range(10))

        def save() -> None:
            own = {"actor": actor.get_state(), "waiting": waiting.get_state()}
            checkpoints.save(next(steps), agent, {"optimizer": learner.optimizer.state_dict(), "processes": [own]})

        return seconds(save, 5)


def core_seconds(agent: Any, config: Any, num_envs: int) -> float:
    """Time that the core takes for one phase of acting and learning."""
    import torch

    steps, batch = config.unroll_length, config.batch_size
    width = agent.core.d_input
    firsts = torch.rand(num_envs, steps + 1) < 0.005
    x = torch.randn(num_envs, steps + 1, width)
    state = agent.core.initial_state(num_envs)

    def act() -> None:
        with torch.no_grad():
            now = state
            for t in range(steps):
                _, now = agent._remember(x[:, t : t + 1], now, firsts[:, t : t + 1])

    def learn() -> None:
        y, _ = agent._remember(x[:batch].requires_grad_(), agent.core.initial_state(batch), firsts[:batch])
        torch.autograd.grad(y.square().sum(), list(agent.core.parameters()))

    return seconds(act) + num_envs / batch * seconds(learn)


def seconds(run: Callable[[], None], times: int = 3) -> float:
    """The median of some runs after one that does not count."""
    run()
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        run()
        taken.append(time.perf_counter() - begun)
    return sorted(taken)[times // 2]


def plain_agent(config: Any, spec: Any) -> Any:
    """The same agent as one would write it with PyTorch alone: images as they are, all frames at once, a loop over time."""
    import torch

    from srwm.rl.agent import Agent

    class Plain(Agent):
        def embed(self, frames: Any) -> Any:
            return self.stem.linear(self.stem.stem(frames.contiguous().float().div(255))).relu()

        def _remember(self, x: Any, state: Any, firsts: Any) -> Any:
            steps = []
            for t in range(x.shape[1]):
                y, state = self.core(x[:, t : t + 1], state, firsts[:, t : t + 1])
                steps.append(y)
            return torch.cat(steps, 1), state

    agent = Plain(replace(config, stack=replace(config.stack, backend="reference")), spec)
    for parameter in agent.parameters():
        parameter.data = parameter.data.contiguous()
    return agent


def machine() -> dict[str, str]:
    import torch

    import machine as this

    return {"cpu": this.cpu_model(), "torch": torch.__version__}


if __name__ == "__main__":
    main(tyro.cli(Options))
