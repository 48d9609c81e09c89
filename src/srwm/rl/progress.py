"""How far a run has come."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from srwm.rl.envs import Episode


@dataclass
class Progress:
    """The part of a process's state that is numbers: it is saved with every checkpoint."""

    step: int = 0
    """updates"""
    frames: int = 0
    """steps of all environments together, those of other processes too"""
    seconds: float = 0.0
    """wall time of training so far, over all of its sessions"""
    cpu_seconds: float = 0.0
    """processor time of training so far, all threads of the process added up"""
    sums: dict[str, float] = field(default_factory=dict)
    """sums over the updates since the last row of metrics"""
    updates: int = 0
    """number of these updates"""
    returns: dict[str, list[float]] = field(default_factory=dict)
    """per task, the returns of this process's episodes that ended since the last row of metrics"""

    def add(self, values: dict[str, float]) -> None:
        """Count one update's numbers in."""
        self.updates += 1
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def add_episodes(self, episodes: list[Episode]) -> None:
        """Count the returns of these episodes in."""
        for episode in episodes:
            self.returns.setdefault(episode.task, []).append(episode.return_)

    def pop_means(self) -> dict[str, float]:
        """Means of the updates' numbers since the last call."""
        means = {name: total / self.updates for name, total in self.sums.items()}
        self.sums, self.updates = {}, 0
        return means

    def pop_returns(self) -> dict[str, list[float]]:
        """The returns since the last call."""
        returns, self.returns = self.returns, {}
        return returns


def mean_returns(parts: Iterable[dict[str, list[float]]], tasks: Collection[str]) -> dict[str, float]:
    """Per task the mean of the returns of all processes; the number of episodes; and `return`, the mean over the tasks.

    Where an episode has not ended in every task, there is no `return`: means over different tasks do not compare.
    """
    returns: dict[str, list[float]] = {}
    for part in parts:
        for task, values in part.items():
            returns.setdefault(task, []).extend(values)
    if not returns:
        return {}
    means = {f"return_{task}": sum(values) / len(values) for task, values in sorted(returns.items())}
    overall = {"return": sum(means.values()) / len(means)} if returns.keys() >= set(tasks) else {}
    return {**overall, "episodes": float(sum(map(len, returns.values()))), **means}
