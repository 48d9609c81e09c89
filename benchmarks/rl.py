"""Frames per second of acting and learning in six ProcGen games: this package against plain PyTorch, in one run.

    python benchmarks/rl.py --json rl.json

Each variant has a process of its own, since waiting OpenMP threads and the allocator are settings of a process.
"""

import json
import statistics
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
    "bf16-turns": "the same, acting and learning in turns",
    "bf16-processes": "the same in turns, a process of one thread for each of the threads, under torchrun",
    "float32": "srwm, float32",
    "bf16-lstm": "the same agent with an LSTM, stem in bfloat16",
    "loop": "the same agent in float32 with a Python loop over time, reference operations, PyTorch's defaults, in turns",
}
_WARM_UP = 3
Variant = tyro.extras.literal_type_from_choices(list(VARIANTS))


@dataclass(frozen=True)
class Options:
    """Time acting and learning."""

    variants: tuple[Variant, ...] = tuple(VARIANTS)
    """which to time"""
    updates: int = 6
    """timed updates, of the preset's batch size each; a multiple of 3, so that acting and learning come out even"""
    rounds: int = 2
    """times that the variants are timed, alternating; the median is reported, with the range of frames per second"""
    threads: int = 2
    """threads of PyTorch"""
    preset: str = "paper-procgen-easy6"
    """what is timed"""
    json: Path | None = None
    """where the numbers go, besides the terminal"""
    variant: Variant | None = None
    """time this one in this process and print its numbers as JSON"""


def main(options: Options) -> None:
    if options.variant is not None:
        measured = measure(options.variant, options)
        from srwm.training.distributed import is_rank_zero  # PyTorch comes with it: not before `measure` has set the process up

        if is_rank_zero():
            print(json.dumps(measured))
        return
    from machine import check_outputs
    from srwm.rl.presets import PRESETS

    presets = [name for name, (_, config) in PRESETS.items() if config.env.kind == "procgen"]
    if options.preset not in presets:
        raise SystemExit(f"--preset: expected one of {', '.join(presets)}, got {options.preset}")
    for name in ("updates", "rounds", "threads"):
        if getattr(options, name) < 1:
            raise SystemExit(f"--{name}: expected 1 or more, got {getattr(options, name)}")
    if options.updates % 3:
        raise SystemExit(f"--updates: expected a multiple of 3, got {options.updates}")
    check_outputs(options.json)
    rounds = [{name: in_process_of_its_own(name, options) for name in options.variants} for _ in range(options.rounds)]
    results = {name: summary([measured[name] for measured in rounds]) for name in options.variants}
    print(f"{'variant':<14} {'frames/s':>9} {'range':>13} {'waiting':>8} {'core':>6} {'checkpoint':>11}")
    for name, row in results.items():
        span = f"{row['slowest']:.0f} to {row['fastest']:.0f}"
        print(
            f"{name:<14} {row['frames_per_second']:9.0f} {span:>13} {row['waiting']:8.1%} {row['core']:6.1%} "
            f"{row['checkpoint']:11.1%}   {VARIANTS[name]}"
        )
    if options.json is not None:
        options.json.write_text(
            json.dumps({"threads": options.threads, "machine": machine(), "variants": results}, indent=2) + "\n"
        )


def in_process_of_its_own(name: str, options: Options) -> dict[str, float]:
    command = [sys.executable]
    if name == "bf16-processes":
        command += ["-m", "torch.distributed.run", "--nproc-per-node", str(options.threads)]
    command += [__file__, "--variant", name, "--updates", str(options.updates), "--threads", str(options.threads)]
    command += ["--preset", options.preset]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def summary(rows: list[dict[str, float]]) -> dict[str, float]:
    """The median of each number, and the range of the speed."""
    speeds = [row["frames_per_second"] for row in rows]
    medians = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    return medians | {"slowest": min(speeds), "fastest": max(speeds)}


def measure(name: str, options: Options) -> dict[str, float]:
    """Frames per second, the share of the time in which learning waits for acting, and the share of the core."""
    if name != "loop":
        prepare_process()

    import torch

    from srwm.rl.agent import Agent
    from srwm.rl.envs import build_env
    from srwm.rl.presets import PRESETS, with_core
    from srwm.rl.rollout import RolloutWorker
    from srwm.rl.update import Learner
    from srwm.training.distributed import build_fabric

    fabric = build_fabric("cpu")
    torch.set_num_threads(options.threads // fabric.world_size)
    torch.manual_seed(0)
    config = with_core(PRESETS[options.preset][1], "lstm" if name.endswith("lstm") else "srwm")
    precision = "bfloat16" if name.startswith("bf16") else "float32"
    config = replace(
        config,
        agent=replace(config.agent, precision=precision),
        env=replace(config.env, num_envs=config.env.num_envs // fabric.world_size),
        batch_size=config.batch_size // fabric.world_size,
        overlap=name in ("bf16", "float32", "bf16-lstm"),
    )
    with build_env(config.env, seed=fabric.global_rank) as env:
        agent = plain_agent(config.agent, env.spec) if name == "loop" else Agent(config.agent, env.spec)
        learner = Learner(agent, config, fabric)
        with RolloutWorker(
            agent, env, config.unroll_length, torch.Generator().manual_seed(0), overlap=config.overlap
        ) as rollout:
            waited = 0.0
            for update in range(_WARM_UP + options.updates):
                if update == _WARM_UP:
                    waited, begun, processor = 0.0, time.perf_counter(), time.process_time()
                asked = time.perf_counter()
                unrolls = rollout.take(config.batch_size)
                waited += time.perf_counter() - asked
                with rollout.prefetch(config.batch_size):
                    learner.update(unrolls, config.optimizer.lr)
                    learned = time.perf_counter()
                waited += time.perf_counter() - learned
            total, processor = time.perf_counter() - begun, time.process_time() - processor
            saving = checkpoint_seconds(agent, learner, rollout)
    frames = options.updates * config.batch_size * config.unroll_length
    per_frame = core_seconds(agent, config, env.num_envs) / (env.num_envs * config.unroll_length)
    return {
        "frames_per_second": fabric.world_size * frames / total,
        "waiting": waited / total,
        "core": per_frame * frames / total,
        "checkpoint": saving / (total / options.updates),
        "checkpoint_seconds": saving,
        "frames_per_processor_second": frames / processor,
    }


def checkpoint_seconds(agent: Any, learner: Any, rollout: Any) -> float:
    """Time of a checkpoint as training writes it, on disk when it returns."""
    from srwm.training.checkpoint import Checkpoints

    with tempfile.TemporaryDirectory(dir=".") as folder:
        checkpoints, steps = Checkpoints(Path(folder)), iter(range(10))

        def save() -> None:
            content = {"optimizer": learner.optimizer.state_dict(), "processes": [{"rollout": rollout.get_state()}]}
            checkpoints.save(next(steps), agent, content)

        return seconds(save, 5)


def core_seconds(agent: Any, config: Any, num_envs: int) -> float:
    """Time that the core takes for every environment's unroll, in acting and in learning, one after the other."""
    import torch

    from srwm.rl.rollout import acting_threads

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

    threads = torch.get_num_threads()
    torch.set_num_threads(acting_threads() if config.overlap else threads)
    acting = seconds(act)
    torch.set_num_threads(threads)
    return acting + num_envs / batch * seconds(learn)


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
    """The same agent as one would write it with PyTorch alone: images unchanged, all frames at once, a loop over time."""
    import torch

    from plain import use_pytorchs_pools
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
    use_pytorchs_pools(agent.stem.stem)
    return agent


def machine() -> dict[str, str]:
    import torch

    import machine as this

    return {"cpu": this.cpu_model(), "torch": torch.__version__}


if __name__ == "__main__":
    main(tyro.cli(Options))
