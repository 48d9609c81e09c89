"""Training of a few-shot learner."""

import dataclasses
import math
import time
from contextlib import nullcontext
from pathlib import Path

import torch
from lightning_fabric import Fabric
from tqdm import tqdm

from srwm.data import ImageClasses, Split
from srwm.errors import UserError
from srwm.fewshot.augment import augment
from srwm.fewshot.build import build_optimizer
from srwm.fewshot.config import TrainConfig
from srwm.fewshot.images import to_float
from srwm.fewshot.protocols.base import Protocol, Sets
from srwm.fewshot.protocols.registry import build_protocol, check_config, with_second
from srwm.fewshot.training.plateau import ChanceWatch, suggestions
from srwm.fewshot.training.progress import Progress
from srwm.fewshot.training.run_data import save_fingerprint
from srwm.fewshot.training.schedule import learning_rate
from srwm.training.checkpoint import Checkpoints, save_weights
from srwm.training.clock import Clock
from srwm.training.distributed import agree, build_fabric, gradients_apart, mean_over_processes, share
from srwm.training.ema import EMA
from srwm.training.runs import BEST, MetricsLog, open_run
from srwm.training.stopping import stop_requests

_WAY_OUT = "try a smaller --optimizer.lr in another --run"


def train(
    config: TrainConfig,
    splits: dict[Split, ImageClasses],
    folder: Path,
    *,
    second_splits: dict[Split, ImageClasses] | None = None,
    resume: bool = False,
    accelerator: str = "auto",
) -> bool:
    """Train in the run folder `folder`: True at the end of the budget, False where Ctrl-C or SIGTERM came before.

    After either, or a kill at any moment, `resume=True` goes on from the last checkpoint as if nothing had happened: with a
    budget in steps, to bit-identical weights. The weights of the best validation are in `best.safetensors`.
    Under `torchrun` the processes share the batches of each step (`accumulate`) and the first of them writes the folder.
    `second_splits` is the data set `second_data` of the configuration, if there is one.
    Raises UserError where the folder exists (or, with `resume`, is no run, has another configuration or other data, or is being
    trained in), a checkpoint is corrupt or cannot be saved, the configuration does not fit itself or the data, or the loss or
    its gradient is not finite: before the weights have changed, and with the checkpoint before still there.
    """
    data = with_second(splits, second_splits)
    check_config(config, data)
    fabric = build_fabric(accelerator)
    mine = share(fabric, config.accumulate)
    torch.manual_seed(config.seed)
    protocol = build_protocol(config, data["train"])
    optimizer = build_optimizer(protocol, config.optimizer)  # what does not fit is told before there is a run folder
    with open_run(fabric, folder, config, resume, first_checkpoint=config.validate_every):
        if fabric.is_global_zero:
            save_fingerprint(folder, data)
        return _train(config, data, protocol, optimizer, fabric, mine, folder, resume)


def _train(
    config: TrainConfig,
    data: dict[Split, Sets],
    protocol: Protocol,
    optimizer: torch.optim.Optimizer,
    fabric: Fabric,
    mine: slice,
    folder: Path,
    resume: bool,
) -> bool:
    is_rank_zero, model, auxiliary_modules = fabric.is_global_zero, protocol.model, protocol.auxiliary_modules()
    learner, optimizer = fabric.setup(protocol, optimizer)
    average = None if config.ema_decay is None else EMA(model, config.ema_decay)
    validated = model if average is None else average.model
    seeds = torch.Generator().manual_seed(config.seed)
    draws = torch.Generator()
    sampler = protocol.sampler(config, data["train"], draws)

    checkpoints = Checkpoints(folder / "checkpoints")
    progress = Progress()
    state = checkpoints.load(model) if resume else None
    if state is not None:
        try:
            progress = Progress(**state["progress"])
            optimizer.load_state_dict(state["optimizer"])
            seeds.set_state(state["seeds"])
            if average is not None:
                average.model.load_state_dict(state["average"])
            auxiliary_modules.load_state_dict(state["auxiliary_modules"])
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise UserError(f"{checkpoints.folder}: not the state of such a run ({type(error).__name__}: {error})") from error

    first_step, session = progress.step, time.monotonic()
    clock = Clock(progress)
    watch = ChanceWatch(config.chance, suggestions(config))
    spent, stopping = agree(fabric, config.budget.spent(progress), False)
    with (
        MetricsLog(folder, progress.step, protocol.extra_terms) if is_rank_zero else nullcontext() as log,
        tqdm(
            total=config.steps, initial=progress.step, unit=" steps", disable=None if is_rank_zero else True, dynamic_ncols=True
        ) as bar,
        stop_requests() as stop,
    ):
        while spent < 1 and not stopping:
            progress.step += 1
            rate = learning_rate(config.schedule, config.optimizer.lr, progress.step, spent, config.model.stack.d_model)
            for group in optimizer.param_groups:
                group["lr"] = rate

            optimizer.zero_grad()
            batch_seeds = torch.randint(2**62, (config.accumulate,), generator=seeds, device="cpu")[mine].tolist()
            for seed in batch_seeds:
                draws.manual_seed(seed)
                torch.manual_seed(seed)
                drawn = fabric.to_device(sampler.sample())
                images = to_float(drawn.images)
                if config.augment:
                    images = augment(images, config.augmentation, draws)
                with gradients_apart(fabric, learner, seed != batch_seeds[-1]):
                    loss, accuracy, terms = learner(drawn._replace(images=images))
                    if not math.isfinite(loss.item()):
                        raise UserError(f"the loss is not finite at step {progress.step}; {_WAY_OUT}")
                    fabric.backward(fabric.world_size * loss)
                progress.add({name: value.item() for name, value in {**terms, "train_accuracy": accuracy}.items()})
            norm = torch.nn.utils.get_total_norm([p.grad for p in learner.parameters() if p.grad is not None])
            if not norm.isfinite():
                raise UserError(f"the norm of the gradient is not finite at step {progress.step}; {_WAY_OUT}")
            if config.optimizer.clip_norm is not None:
                torch.nn.utils.clip_grads_with_norm_(learner.parameters(), config.optimizer.clip_norm, norm)
            optimizer.step()
            if average is not None:
                average.update(model, progress.step)

            clock.tick()
            spent, stopping = agree(fabric, config.budget.spent(progress), stop.is_set())
            validating = progress.step % config.validate_every == 0 or spent >= 1
            bar.update()
            if validating or progress.step % config.log_every == 0:
                steps = progress.count // len(batch_seeds)
                row = {"learning_rate": rate, **mean_over_processes(fabric, progress.take_means())}
                warning = watch.update(progress.step, steps, row["train_accuracy"])
                if warning and is_rank_zero:
                    tqdm.write(warning)
                speed = (progress.step - first_step) * config.episodes * config.accumulate / (time.monotonic() - session)
                told = f"loss {row['train_loss']:.3f}, accuracy {100 * row['train_accuracy']:.1f} %"
                bar.set_postfix_str(f"{progress.seconds / 60:.1f} min, {speed:.0f} episodes/s, {told}")
                if validating and is_rank_zero:
                    found = protocol.evaluate(config, validated, data["val"], config.validation_episodes, seed=0).accuracy
                    row |= {"val_accuracy": found.mean, "val_interval": found.interval}
                    progress.stale += 1
                    if found.mean > progress.best:
                        progress.best, progress.stale = found.mean, 0
                        save_weights(folder / BEST, validated, {"step": progress.step, "validation": str(found)})
                    clock.tick()
                    tqdm.write(
                        f"step {progress.step}, {progress.seconds / 60:.1f} min, {speed:.0f} episodes/s: {told}, "
                        f"validation {found}"
                    )
                if log is not None:
                    log.write(progress.step, minutes=progress.seconds / 60, cpu_minutes=progress.cpu_seconds / 60, **row)
            if validating:
                spent, stopping = agree(fabric, config.budget.spent(progress), stopping)
            if is_rank_zero and (validating or stopping):
                content = {
                    "progress": dataclasses.asdict(progress),
                    "optimizer": optimizer.state_dict(),
                    "seeds": seeds.get_state(),
                    "average": None if average is None else average.model.state_dict(),
                    "auxiliary_modules": auxiliary_modules.state_dict(),
                }
                checkpoints.save(progress.step, model, content)
    return spent >= 1
