"""One optimizer step of few-shot training, and the state that it changes."""

from typing import Any, ClassVar

import torch
from lightning_fabric import Fabric

from srwm.fewshot.augment import augment
from srwm.fewshot.config import TrainConfig
from srwm.fewshot.images import to_float
from srwm.fewshot.models.base import EpisodeModel
from srwm.fewshot.protocols.base import Protocol, Sets
from srwm.training.distributed import local_batches, no_sync
from srwm.training.ema import EMA
from srwm.training.optimizer import build_optimizer, check_loss, clip_gradient, load_optimizer


class Trainer:
    """A protocol with its optimizer, EMA, sampler and random state.

    Args:
        config: the configuration.
        data: the training classes.
        protocol: the protocol, which contains the model.
        fabric: the processes that share the batches of a step.

    Raises:
        UserError: the batches cannot be divided among the processes, or settings of the optimizer or sampler are invalid.
    """

    RENAMED: ClassVar = {"average": "ema", "aids": "auxiliary_modules"}
    """keys of the state in checkpoints of earlier versions"""

    def __init__(self, config: TrainConfig, data: Sets, protocol: Protocol, fabric: Fabric) -> None:
        self.config = config
        self.fabric = fabric
        self.protocol = protocol
        self.model = protocol.model
        self._batches = local_batches(fabric, config.accumulate)
        self._module, self._optimizer = fabric.setup(protocol, build_optimizer(protocol, config.optimizer))
        self._ema: EMA[EpisodeModel] | None = None if config.ema_decay is None else EMA(self.model, config.ema_decay)
        self._seeds = torch.Generator().manual_seed(config.seed)
        self._draws = torch.Generator()
        self._sampler = protocol.sampler(config, data, self._draws)

    @property
    def validated_model(self) -> EpisodeModel:
        """The model that is validated and saved: the EMA if there is one."""
        return self.model if self._ema is None else self._ema.model

    @property
    def batches_per_step(self) -> int:
        """Number of batches per step in this process."""
        return len(range(self.config.accumulate)[self._batches])

    def step(self, number: int, lr: float) -> list[dict[str, float]]:
        """One optimizer step.

        Args:
            number: the step, counted from 1.
            lr: its learning rate.

        Returns:
            The terms of the loss and `train_accuracy`, for each of this process's batches.

        Raises:
            UserError: the loss or the norm of the gradient is not finite; the weights have not changed then.
        """
        for group in self._optimizer.param_groups:
            group["lr"] = lr
        self._optimizer.zero_grad()
        seeds = torch.randint(2**62, (self.config.accumulate,), generator=self._seeds, device="cpu")[self._batches].tolist()
        values = [self._backward(seed, number, is_last=seed == seeds[-1]) for seed in seeds]
        clip_gradient(self._module, self.config.optimizer.clip_norm, number)
        self._optimizer.step()
        if self._ema is not None:
            self._ema.update(self.model, number)
        return values

    def get_state(self) -> dict[str, Any]:
        """Everything that determines later steps, except the model and the number of the step.

        Returns:
            Tensors, numbers, strings, lists and dicts, as `set_state` takes them.
        """
        return {
            "optimizer": self._optimizer.state_dict(),
            "seeds": self._seeds.get_state(),
            "ema": None if self._ema is None else self._ema.model.state_dict(),
            "auxiliary_modules": self.protocol.auxiliary_modules().state_dict(),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from a `get_state`.

        Args:
            state: what it returned, also in an earlier version.

        Raises:
            UserError: the state does not fit.
            KeyError, TypeError, ValueError: it is malformed.
        """
        state = {self.RENAMED.get(name, name): value for name, value in state.items()}
        load_optimizer(self._optimizer, state["optimizer"])
        self._seeds.set_state(state["seeds"])
        if self._ema is not None:
            self._ema.model.load_state_dict(state["ema"])
        self.protocol.auxiliary_modules().load_state_dict(state["auxiliary_modules"])

    def _backward(self, seed: int, number: int, *, is_last: bool) -> dict[str, float]:
        self._draws.manual_seed(seed)
        torch.manual_seed(seed)
        drawn = self.fabric.to_device(self._sampler.sample())
        images = to_float(drawn.images)
        if self.config.augment:
            images = augment(images, self.config.augmentation, self._draws)
        with no_sync(self.fabric, self._module, not is_last):
            loss, accuracy, terms = self._module(drawn._replace(images=images))
            check_loss(loss, number)
            self.fabric.backward(self.fabric.world_size * loss)
        return {name: value.item() for name, value in {**terms, "train_accuracy": accuracy}.items()}
