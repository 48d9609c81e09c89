"""The agent of a trained run, and its scores."""

from pathlib import Path
from typing import Any

from srwm.errors import UserError
from srwm.rl.agent import Agent
from srwm.rl.config import TrainConfig
from srwm.rl.envs import EnvConfig, EnvSpec, build_env
from srwm.rl.evaluate import Scores, estimate, interquartile_mean, level_sets, normalize, play
from srwm.rl.seeds import evaluation_seed
from srwm.rl.train import WEIGHTS, build_agent
from srwm.training.checkpoint import Checkpoints
from srwm.training.runs import keep_result, read_config_of
from srwm.training.weights import check_shapes, load_weights


def load_agent(folder: Path, spec: EnvSpec) -> Agent:
    """The agent of a run, with its final weights or, before the end of training, those of its last checkpoint.

    Args:
        folder: Run folder.
        spec: Of the environments.

    Raises:
        UserError: the folder is not a run, or its weights are missing, corrupt or of another agent.
    """
    config = read_config_of(folder, TrainConfig).agent
    checkpoints = Checkpoints(folder / "checkpoints")
    weights = folder / WEIGHTS if (folder / WEIGHTS).exists() else checkpoints.newest_weights()
    if weights is None:
        raise UserError(f"{folder} holds no weights yet")
    check_shapes(weights, config.stack.num_layers, lambda: build_agent(config, spec, "meta"))
    agent = build_agent(config, spec)
    if (folder / WEIGHTS).exists():
        load_weights(folder / WEIGHTS, agent)
    else:
        checkpoints.load(agent)
    return agent.eval()


def score_run(folder: Path, episodes: int = 200, *, greedy: bool = True, chance: bool = False, seed: int = 1) -> dict[str, Any]:
    """Score a run on each level set, and write the scores to `scores_file` in the run folder.

    Scores over more episodes that are there already are kept, with a warning.

    Args:
        folder: Run folder.
        episodes: Per task and level set.
        greedy: Take the likeliest actions instead of drawing from the policy.
        chance: Draw all actions with equal probability instead.
        seed: Of environments and actions; no training uses the same ones, whatever its seed.

    Returns:
        What is written. Per level set the mean return of each task. Where all tasks have a published range also their
        normalized scores, with the mean and the interquartile mean over the episodes of all tasks. Each is {value, low, high}.

    Raises:
        UserError: see `load_agent`.
        EnvCrashError: an environment failed.
    """
    config = read_config_of(folder, TrainConfig)
    sets: dict[str, Any] = {}
    own = evaluation_seed(seed)
    agent: Agent | None = None
    for name, env_config in level_sets(config.env, episodes).items():
        with build_env(env_config, own) as env:
            agent = agent or load_agent(folder, env.spec)  # once: training may still write others
            returns = play(agent, env, episodes, greedy=greedy, chance=chance, seed=own)
            sets[name] = summary(returns, env_config)
    result = {"episodes": episodes, "greedy": greedy and not chance, "seed": seed, "sets": sets}
    keep_result(folder / scores_file(greedy=greedy, chance=chance), result, folder / WEIGHTS)
    return result


def scores_file(*, greedy: bool = True, chance: bool = False) -> str:
    """The name of the file in a run folder that holds such scores."""
    return "chance.json" if chance else "evaluation.json" if greedy else "evaluation-sampled.json"


def summary(returns: Scores, config: EnvConfig) -> dict[str, Any]:
    """The statistics of one level set's returns."""
    result: dict[str, Any] = {"returns": {name: vars(estimate({name: values})) for name, values in returns.items()}}
    normalized = normalize(returns, config)
    if normalized is not None:
        result["normalized"] = {name: vars(estimate({name: values})) for name, values in normalized.items()}
        result["normalized mean"] = vars(estimate(normalized))
        result["normalized interquartile mean"] = vars(estimate(normalized, interquartile_mean))
    return result
