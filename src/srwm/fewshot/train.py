"""Training of a few-shot learner."""

import dataclasses
import math
import time
from pathlib import Path

import torch
from lightning_fabric import Fabric
from tqdm import tqdm

from srwm.data import ImageClasses, Split, UserError
from srwm.data.files import remove_leftovers
from srwm.fewshot.augment import distort
from srwm.fewshot.average import WeightAverage
from srwm.fewshot.checkpoint import Checkpoints, save_weights
from srwm.fewshot.config import TrainConfig
from srwm.fewshot.evaluate import to_float
from srwm.fewshot.learner import build_optimizer
from srwm.fewshot.progress import Progress, stop_requests
from srwm.fewshot.protocols import build_objective, check_config, with_second
from srwm.fewshot.runs import BEST, MetricsLog, check_same_config, create_run
from srwm.fewshot.schedule import learning_rate


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
    `second_splits` is the data set `second_data` of the configuration, if there is one.
    Raises UserError where the folder exists (or, with `resume`, is no run or has another configuration), a checkpoint is
    corrupt or cannot be saved, the configuration does not fit itself or the data, or the loss is not finite.
    """
    data = with_second(splits, second_splits)
    check_config(config, data)
    try:
        fabric = Fabric(accelerator=accelerator, devices=1)
    except (ValueError, RuntimeError) as error:
        raise UserError(f"accelerator: {error}") from error
    if resume:
        check_same_config(folder, config)
        for part in (folder, folder / "checkpoints"):
            remove_leftovers(part)
    else:
        create_run(folder, config)

    torch.manual_seed(config.seed)
    objective = build_objective(config, data["train"])
    model, auxiliary = objective.model, objective.auxiliary
    learner, optimizer = fabric.setup(objective, build_optimizer(objective, config.optimizer))
    average = None if config.average_decay is None else WeightAverage(model, config.average_decay)
    validated = model if average is None else average.model
    generator = torch.Generator().manual_seed(config.seed)
    sampler = objective.sampler(config, data["train"], generator)

    checkpoints = Checkpoints(folder / "checkpoints")
    progress = Progress()
    state = checkpoints.load(model) if resume else None
    if state is not None:
        progress = Progress(**state["progress"])
        optimizer.load_state_dict(state["optimizer"])
        generator.set_state(state["generator"])
        torch.set_rng_state(state["torch_rng"])
        if average is not None:
            average.model.load_state_dict(state["average"])
        if auxiliary is not None:
            auxiliary.load_state_dict(state["auxiliary"])

    begun, first_step = time.monotonic() - progress.seconds, progress.step
    session = time.monotonic()
    spent = config.budget.progress(progress.step, progress.seconds)
    with (
        MetricsLog(folder, progress.step, objective.more_terms) as log,
        tqdm(total=config.steps, initial=progress.step, unit=" steps", disable=None, dynamic_ncols=True) as bar,
        stop_requests() as stop,
    ):
        while spent < 1 and not stop.is_set():
            progress.step += 1
            rate = learning_rate(config.schedule, config.optimizer.lr, progress.step, spent, config.model.stack.d_model)
            for group in optimizer.param_groups:
                group["lr"] = rate

            optimizer.zero_grad()
            for _ in range(config.accumulate):
                drawn = fabric.to_device(sampler.sample())
                images = to_float(drawn.images)
                if config.distort:
                    images = distort(images, config.distortion, generator)
                loss, accuracy, terms = learner(drawn._replace(images=images))
                if not math.isfinite(loss.item()):
                    raise UserError(f"the loss is not finite at step {progress.step}; try a smaller --optimizer.lr")
                fabric.backward(loss)
                progress.add({name: value.item() for name, value in {**terms, "train_accuracy": accuracy}.items()})
            if config.optimizer.clip_norm is not None:
                fabric.clip_gradients(learner, optimizer, max_norm=config.optimizer.clip_norm)
            optimizer.step()
            if average is not None:
                average.update(model, progress.step)

            progress.seconds = time.monotonic() - begun
            spent = config.budget.progress(progress.step, progress.seconds)
            validating = progress.step % config.validate_every == 0 or spent >= 1
            bar.update()
            if validating or progress.step % config.log_every == 0:
                row = {"learning_rate": rate, **progress.take_means()}
                speed = (progress.step - first_step) * config.episodes * config.accumulate / (time.monotonic() - session)
                told = f"loss {row['train_loss']:.3f}, accuracy {100 * row['train_accuracy']:.1f} %"
                bar.set_postfix_str(f"{progress.seconds / 60:.1f} min, {speed:.0f} episodes/s, {told}")
                if validating:
                    found, _ = objective.evaluate(config, validated, data["val"], config.validation_episodes, seed=0)
                    row |= {"val_accuracy": found.mean, "val_interval": found.interval}
                    if found.mean > progress.best:
                        progress.best = found.mean
                        save_weights(folder / BEST, validated, {"step": progress.step, "validation": str(found)})
                    progress.seconds = time.monotonic() - begun
                    spent = config.budget.progress(progress.step, progress.seconds)
                    tqdm.write(
                        f"step {progress.step}, {progress.seconds / 60:.1f} min, {speed:.0f} episodes/s: {told}, "
                        f"validation {found}"
                    )
                log.write(progress.step, minutes=progress.seconds / 60, **row)
            if validating or stop.is_set():
                content = {
                    "progress": dataclasses.asdict(progress),
                    "optimizer": optimizer.state_dict(),
                    "generator": generator.get_state(),
                    "torch_rng": torch.get_rng_state(),
                    "average": None if average is None else average.model.state_dict(),
                    "auxiliary": None if auxiliary is None else auxiliary.state_dict(),
                }
                checkpoints.save(progress.step, model, content)
    return spent >= 1
