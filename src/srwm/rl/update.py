"""Updates of an agent from batches of unrolls."""

from collections.abc import Iterator

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from srwm.errors import UserError
from srwm.rl.agent import Agent
from srwm.rl.config import OptimizerConfig, TrainConfig
from srwm.rl.losses import Losses, diagnostics, impala_losses, log_probability, ppo_losses
from srwm.rl.rollout import Unrolls
from srwm.rl.vtrace import Returns, generalized_advantages, outcomes, vtrace
from srwm.training.finite import check_finite, named_weights


class ForwardPass(nn.Module):
    """The agent's forward pass over unrolls, as the module that Fabric wraps in DistributedDataParallel.

    One call of the core covers all steps: unrolls -> logits (B, T, A) and values (B, T + 1).

    Args:
        agent: the agent.
    """

    def __init__(self, agent: Agent) -> None:
        super().__init__()
        self.agent = agent

    def forward(self, unrolls: Unrolls) -> tuple[Tensor, Tensor]:
        """Logits and values of B unrolls, each from its initial state.

        Args:
            unrolls: the unrolls.

        Returns:
            Logits (B, T, A) and values (B, T + 1).
        """
        logits, values, _ = self.agent(unrolls.observations, unrolls.rewards, unrolls.firsts, unrolls.state)
        return logits[:, :-1], values


class Learner:
    """The agent, its optimizer, and its updates with IMPALA or PPO.

    Args:
        agent: the agent.
        config: the configuration of the run.
        fabric: the processes and devices.
    """

    def __init__(self, agent: Agent, config: TrainConfig, fabric: Fabric) -> None:
        self.agent = agent
        self.config = config
        self.fabric = fabric
        self.forward_pass, self.optimizer = fabric.setup(ForwardPass(agent), build_optimizer(agent, config.optimizer))

    def update(self, unrolls: Unrolls, learning_rate: float) -> dict[str, float]:
        """Update the agent from B unrolls.

        Args:
            unrolls: the unrolls, on the agent's device.
            learning_rate: the learning rate of this update.

        Returns:
            Losses and entropy as means over steps, the norm of the gradient before clipping, and `diagnostics`.

        Raises:
            NotFiniteError: a loss or a gradient is not finite; the weights have not changed then.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.forward_pass.train()
        parts = self._ppo(unrolls) if self.config.algorithm == "ppo" else self._impala(unrolls)
        rows = [self._step(*part) for part in parts]
        return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}

    def _impala(self, unrolls: Unrolls) -> Iterator[tuple[Unrolls, Tensor, Tensor, Returns, Losses, int]]:
        logits, values = self.forward_pass(unrolls)
        log_ratios = log_probability(logits.detach(), unrolls.actions) - unrolls.log_probs
        returns = vtrace(log_ratios, *self._outcomes(unrolls), *_without_last(values))
        losses = impala_losses(logits, values[:, :-1], unrolls.actions, returns)
        yield unrolls, logits, values, returns, losses, unrolls.actions.numel()

    def _ppo(self, unrolls: Unrolls) -> Iterator[tuple[Unrolls, Tensor, Tensor, Returns, Losses, int]]:
        settings = self.config.ppo
        values = _without_last(unrolls.values)
        targets, advantages = generalized_advantages(*self._outcomes(unrolls), *values, lambda_=settings.lambda_)
        advantages = (advantages - advantages.mean()) / (advantages.std(correction=0) + 1e-8)
        for _ in range(settings.epochs):
            order = torch.randperm(len(targets), device="cpu").to(targets.device)
            for which in order.tensor_split(settings.minibatches):
                part, returns = unrolls.select(which), Returns(targets[which], advantages[which])
                logits, values = self.forward_pass(part)
                losses = ppo_losses(logits, values[:, :-1], part.actions, returns, part.log_probs, clip=settings.clip)
                yield part, logits, values, returns, losses, 1

    def _outcomes(self, unrolls: Unrolls) -> tuple[Tensor, Tensor]:
        """Rewards and discounts of the steps, (B, T) each."""
        limit = self.config.reward_clip
        rewards = unrolls.rewards[:, 1:] if limit is None else unrolls.rewards[:, 1:].clamp(-limit, limit)
        return outcomes(rewards, unrolls.firsts[:, 1:], unrolls.final_values, self.config.discount)

    def _step(
        self, unrolls: Unrolls, logits: Tensor, values: Tensor, returns: Returns, losses: Losses, count: int
    ) -> dict[str, float]:
        config = self.config
        total = losses.total(config.value_cost, config.entropy_cost)
        if not total.isfinite():
            check_finite(
                [
                    ("observations", unrolls.observations),
                    ("rewards", unrolls.rewards),
                    *named_weights(self.agent),
                    ("log-probabilities of the acting policy", unrolls.log_probs),
                    ("logits", logits),
                    ("values", values),
                    *((f"{name} loss" if name != "entropy" else name, loss) for name, loss in losses._asdict().items()),
                    ("loss", total),
                ]
            )
        self.optimizer.zero_grad()
        self.fabric.backward(total)
        gradients = [(f"gradient of {name}", p.grad) for name, p in self.agent.named_parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm([gradient for _, gradient in gradients])
        if not norm.isfinite():
            check_finite([*gradients, ("norm of the gradient", norm)])
        if config.optimizer.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self.agent.parameters(), config.optimizer.clip_norm, norm)
        self.optimizer.step()
        policy, value, entropy = (loss.item() / count for loss in losses)
        metrics = {"policy_loss": policy, "value_loss": value, "entropy": entropy, "gradient_norm": norm.item()}
        clip = config.ppo.clip if config.algorithm == "ppo" else None
        return metrics | diagnostics(logits, values[:, :-1], unrolls.actions, returns, unrolls.log_probs, clip=clip)


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """Build the optimizer of a configuration.

    Args:
        model: the module to train.
        config: the configuration of the optimizer.

    Returns:
        The optimizer.

    Raises:
        UserError: the name is unknown.
    """
    match config.name:
        case "rmsprop":
            return torch.optim.RMSprop(model.parameters(), config.lr, alpha=config.alpha, eps=config.eps)
        case "adam":
            return torch.optim.Adam(model.parameters(), config.lr, eps=config.eps)
        case name:
            raise UserError(f"optimizer.name: expected rmsprop or adam, got {name!r}")


def _without_last(values: Tensor) -> tuple[Tensor, Tensor]:
    values = values.detach()
    return values[:, :-1], values[:, -1]
