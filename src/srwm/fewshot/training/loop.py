"""Training of a few-shot learner."""

from pathlib import Path

import torch

from srwm.data import ImageClasses, Split
from srwm.fewshot.config import TrainConfig
from srwm.fewshot.evaluation.config import EvaluationConfig
from srwm.fewshot.evaluation.evaluate import Accuracy
from srwm.fewshot.protocols.base import Sets
from srwm.fewshot.protocols.registry import build_protocol, check_config, with_second
from srwm.fewshot.training.plateau import describe_chance, watch_accuracy
from srwm.fewshot.training.run_data import save_fingerprint
from srwm.fewshot.training.trainer import Trainer
from srwm.training.checkpoint import resume_from
from srwm.training.distributed import build_fabric, mean_over_processes
from srwm.training.precision import bfloat16_warning
from srwm.training.progress import Progress
from srwm.training.run_loop import RunLoop
from srwm.training.runs import open_run
from srwm.training.schedule import learning_rate


def train(
    config: TrainConfig,
    splits: dict[Split, ImageClasses],
    folder: Path,
    *,
    second_splits: dict[Split, ImageClasses] | None = None,
    resume: bool = False,
    accelerator: str = "auto",
) -> bool:
    """Train in a run folder; the weights of the best validation are in its `best.safetensors`.

    A run that was stopped or killed at any moment continues with `resume=True` from its last checkpoint, as if it had not been
    interrupted. With a budget in steps the final weights are bit-identical. Under `torchrun` the processes share the batches of
    each step (`accumulate`), and rank 0 writes the folder.

    Args:
        config: the configuration.
        splits: the data set by split.
        folder: the run folder, created here unless `resume`.
        second_splits: the data set `second_data` of the configuration, if there is one.
        resume: continue from the last checkpoint.
        accelerator: device, as Lightning Fabric names it.

    Returns:
        True at the end of the budget, False if Ctrl-C or SIGTERM stopped training before.

    Raises:
        UserError: the folder exists (or, with `resume`, is not a run, has another configuration or other data, or is in use by
            another process), a checkpoint is corrupt or cannot be saved, the configuration is inconsistent or does not fit the
            data, or the loss or its gradient is not finite. In the last case the weights have not changed, and the last
            checkpoint still exists.
    """
    data = with_second(splits, second_splits)
    check_config(config, data)
    fabric = build_fabric(accelerator)
    torch.manual_seed(config.seed)
    trainer = Trainer(config, data["train"], build_protocol(config, data["train"]), fabric)
    with open_run(fabric, folder, config, resume, first_checkpoint=config.validate_every):
        if fabric.is_global_zero:
            save_fingerprint(folder, data)
        return _train(trainer, data, folder, resume)


def _train(trainer: Trainer, data: dict[Split, Sets], folder: Path, resume: bool) -> bool:
    config, fabric = trainer.config, trainer.fabric
    progress = resume_from(folder, trainer.model, trainer.set_state) if resume else Progress()
    watch = watch_accuracy(config)
    with RunLoop(
        fabric,
        folder,
        config.budget,
        progress,
        unit="steps",
        columns=_columns(trainer),
        rate=("episodes", config.episodes * config.accumulate),
    ) as run:
        run.announce(trainer.model, _describe_data(data["train"]))
        if not resume and (warning := bfloat16_warning(config.precision, fabric.device, "--precision")):
            run.print(warning)
        while run.next_step():
            # forward and backward passes, optimizer step
            lr = learning_rate(config.schedule, config.optimizer.lr, progress.step, run.spent, config.model.stack.d_model)
            for values in trainer.step(progress.step, lr):
                progress.add(values)
            run.end_step()

            # once in a while: validation, and a row of metrics
            validating = run.is_due(config.validate_every)
            if validating or run.is_due(config.log_every):
                steps = progress.count // trainer.batches_per_step
                row = {"learning_rate": lr, **mean_over_processes(fabric, progress.pop_means())}
                text = f"loss {row['train_loss']:.3f}, accuracy {100 * row['train_accuracy']:.1f} %"
                if at_chance := watch.update(progress.step, steps, row["train_accuracy"]):
                    run.print(describe_chance(config, progress.step, *at_chance))
                if validating and fabric.is_global_zero:
                    found = _validate(trainer, data["val"], run)
                    row |= {"val_accuracy": found.mean, "val_interval": found.interval}
                    text += f", validation {found}"
                if validating:
                    run.end_validation()
                run.log(row, text, report=validating)

            # after each validation, and where training is to stop: a checkpoint
            if validating or run.stopping:
                run.save(trainer.model, {"progress": progress.to_dict(), **trainer.get_state()})
    return run.spent >= 1


def _validate(trainer: Trainer, data: Sets, run: RunLoop) -> Accuracy:
    """Accuracy on the validation classes; the weights are saved if it is the best so far."""
    config, model = trainer.config, trainer.validated_model
    evaluation = EvaluationConfig(config.validation_episodes, seed=0, split="val")
    found = trainer.protocol.evaluate(config, model, data, evaluation).accuracy
    run.keep_best(model, found.mean, str(found))
    return found


def _columns(trainer: Trainer) -> tuple[str, ...]:
    losses = ("train_loss", *trainer.protocol.extra_terms)
    return ("minutes", "cpu_minutes", "learning_rate", *losses, "train_accuracy", "val_accuracy", "val_interval")


def _describe_data(sets: Sets) -> str:
    return " and ".join(f"{data.name} ({len(data):,} classes, {len(data.images):,} images)" for data in sets)
