"""How far a run has come."""

from dataclasses import dataclass, field

from srwm.rl.envs import Episode


@dataclass
class Progress:
    """The part of a run's state that is numbers: it is saved with every checkpoint."""

    step: int = 0
    """updates"""
    frames: int = 0
    """steps of all environments together"""
    seconds: float = 0.0
    """wall time of training so far, over all of its sessions"""
    sums: dict[str, float] = field(default_factory=dict)
    """sums over the updates since the last row of metrics"""
    updates: int = 0
    """number of these updates"""
    returns: dict[str, list[float]] = field(default_factory=dict)
    """per task, the returns of the episodes that ended since the last row of metrics"""

    def add(self, values: dict[str, float]) -> None:
        """Count one update's numbers in."""
        self.updates += 1
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def add_episodes(self, episodes: list[Episode]) -> None:
        """Count the returns of these episodes in."""
        for episode in episodes:
            self.returns.setdefault(episode.task, []).append(episode.return_)

    def take_means(self) -> dict[str, float]:
        """Means since the last call: of the updates' numbers; of the returns of each task, and of these over the tasks."""
        means = {name: total / self.updates for name, total in self.sums.items()}
        returns = {f"return_{task}": sum(values) / len(values) for task, values in sorted(self.returns.items())}
        if returns:
            means |= {
                "return": sum(returns.values()) / len(returns),
                "episodes": sum(map(len, self.returns.values())),
                **returns,
            }
        self.sums, self.updates, self.returns = {}, 0, {}
        return means
