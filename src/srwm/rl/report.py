"""Loading the agent of a run, and its scores."""

from pathlib import Path
from typing import Any

from srwm.errors import UserError
from srwm.files import check_writable_folder
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
    """Load the agent of a run, with its final weights or, before the end of training, those of its last checkpoint.

    Args:
        folder: the run folder.
        spec: shapes of observations and actions.

    Returns:
        The agent.

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
    """Score a run on each level set, and save the scores as `scores_file` in the run folder.

    Saved scores over more episodes are kept, with a warning.

    Args:
        folder: the run folder.
        episodes: number of episodes per task and level set.
        greedy: take the most probable actions instead of sampling from the policy.
        chance: play random actions (uniform) instead.
        seed: random seed of environments and actions; training never uses the same random numbers, whatever its seed.

    Returns:
        The saved scores: for each level set the mean return of each task. If all tasks have a published range, also their
        normalized scores, with the mean and the interquartile mean over the episodes of all tasks. Each is {value, low, high}.

    Raises:
        UserError: as `load_agent`, or the folder cannot be written to.
        EnvCrashError: an environment failed.
    """
    config = read_config_of(folder, TrainConfig)
    check_writable_folder(folder)
    sets: dict[str, Any] = {}
    own = evaluation_seed(seed)
    agent: Agent | None = None
    for name, env_config in level_sets(config.env, episodes).items():
        with build_env(env_config, own) as env:
            agent = agent or load_agent(folder, env.spec)  # only once, since a training process may replace the weights
            returns = play(agent, env, episodes, greedy=greedy, chance=chance, seed=own)
            sets[name] = summary(returns, env_config)
    result = {"episodes": episodes, "greedy": greedy and not chance, "seed": seed, "sets": sets}
    keep_result(folder / scores_file(greedy=greedy, chance=chance), result, folder / WEIGHTS)
    return result


def scores_file(*, greedy: bool = True, chance: bool = False) -> str:
    """The name of the file of scores in a run folder.

    Args:
        greedy: as in `score_run`.
        chance: as in `score_run`.

    Returns:
        The name.
    """
    return "chance.json" if chance else "evaluation.json" if greedy else "evaluation-sampled.json"


def summary(returns: Scores, config: EnvConfig) -> dict[str, Any]:
    """The statistics of the returns of one level set.

    Args:
        returns: the returns by task.
        config: the environments.

    Returns:
        The statistics by name.
    """
    result: dict[str, Any] = {"returns": {name: vars(estimate({name: values})) for name, values in returns.items()}}
    normalized = normalize(returns, config)
    if normalized is not None:
        result["normalized"] = {name: vars(estimate({name: values})) for name, values in normalized.items()}
        result["normalized mean"] = vars(estimate(normalized))
        result["normalized interquartile mean"] = vars(estimate(normalized, interquartile_mean))
    return result
