"""Returns of training episodes."""

from collections.abc import Collection, Iterable

from srwm.rl.envs import Episode

Returns = dict[str, list[float]]
"""The returns of episodes by task."""


class EpisodeReturns:
    """The returns of one process's episodes since the last row of metrics."""

    def __init__(self) -> None:
        self._returns: Returns = {}

    def add(self, episodes: list[Episode]) -> None:
        """Add the returns of these episodes.

        Args:
            episodes: episodes that have ended.
        """
        for episode in episodes:
            self._returns.setdefault(episode.task, []).append(episode.return_)

    def pop(self) -> Returns:
        """The returns since the last call.

        Returns:
            The returns by task.
        """
        returns, self._returns = self._returns, {}
        return returns

    def get_state(self) -> Returns:
        """The returns since the last `pop`, for a checkpoint.

        Returns:
            The returns by task.
        """
        return self._returns

    def set_state(self, state: Returns, tasks: Collection[str]) -> None:
        """Continue from a `get_state`.

        Args:
            state: what it returned.
            tasks: the tasks of the environments.

        Raises:
            ValueError: it has other tasks or values.
            TypeError: it is malformed.
        """
        if not state.keys() <= set(tasks):
            raise ValueError(f"returns: expected {', '.join(sorted(set(tasks)))}, got {', '.join(map(str, state))}")
        self._returns = {task: [float(value) for value in values] for task, values in state.items()}


def mean_returns(parts: Iterable[Returns], tasks: Collection[str]) -> dict[str, float]:
    """Means over the episodes of all processes.

    Args:
        parts: the returns of each process.
        tasks: the names of all tasks.

    Returns:
        `return_<task>`, the mean return of a task; `episodes`, the number of episodes; and `return`, the mean over all tasks,
        if an episode has ended in each of them. Empty if no episode has ended.
    """
    returns: Returns = {}
    for part in parts:
        for task, values in part.items():
            returns.setdefault(task, []).extend(values)
    if not returns:
        return {}
    means = {f"return_{task}": sum(values) / len(values) for task, values in sorted(returns.items())}
    overall = {"return": sum(means.values()) / len(means)} if returns.keys() >= set(tasks) else {}
    return {**overall, "episodes": float(sum(map(len, returns.values()))), **means}
