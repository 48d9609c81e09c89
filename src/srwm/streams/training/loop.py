"""Training of a learner of streams."""

from pathlib import Path

import torch
from lightning_fabric import Fabric

from srwm.errors import UserError
from srwm.streams.config import TrainConfig
from srwm.streams.model import StreamModel
from srwm.streams.training.trainer import Trainer
from srwm.streams.validation import Validation, validate
from srwm.training.checkpoint import resume_from
from srwm.training.configuration import check_values
from srwm.training.distributed import build_fabric, mean_over_processes
from srwm.training.progress import Progress
from srwm.training.run_loop import RunLoop
from srwm.training.runs import open_run
from srwm.training.schedule import learning_rate

_COLUMNS = (
    "minutes",
    "cpu_minutes",
    "learning_rate",
    "train_loss",
    "train_accuracy",
    "length",
    "val_accuracy",
    "val_interval",
    "val_loss",
)


def train(config: TrainConfig, folder: Path, *, resume: bool = False, accelerator: str = "auto") -> bool:
    """Train in a run folder; the weights of the best validation are in its `best.safetensors`.

    A run that was stopped or killed continues with `resume=True` from its last checkpoint. With a budget in steps the final
    weights are bit-identical to those of an uninterrupted run. Under `torchrun` each process draws streams of its own.

    Args:
        config: the configuration.
        folder: the run folder, created here unless `resume`.
        resume: continue from the last checkpoint.
        accelerator: cpu, cuda or auto.

    Returns:
        True at the end of the budget, False if Ctrl-C or SIGTERM stopped training before.

    Raises:
        UserError: the folder exists (or, with `resume`, is not a run, has another configuration, or is in use by another
            process), a checkpoint is corrupt or cannot be saved, the configuration is inconsistent, the device is missing or
            has no float64 (MPS), or the loss or its gradient is not finite.
    """
    check_config(config)
    fabric = _fabric(accelerator)
    torch.manual_seed(config.seed)
    trainer = Trainer(config, fabric)
    with open_run(fabric, folder, config, resume, first_checkpoint=config.validate_every):
        return _train(trainer, folder, resume)


def check_config(config: TrainConfig) -> None:
    """Check a configuration.

    Args:
        config: the configuration.

    Raises:
        UserError: a value is out of its range, there is no budget, or the curriculum, the prior or the model does not fit.
    """
    check_values(config)
    config.budget.check()
    if len(config.lengths) != len(config.length_from) or 0.0 not in config.length_from:
        raise UserError(f"length_from: expected a fraction for each length, one of them 0, got {config.length_from}")
    if config.prior.max_features != config.model.num_features or config.prior.max_classes != config.model.num_classes:
        raise UserError("prior: expected max_features and max_classes equal to the model's num_features and num_classes")
    try:
        with torch.device("meta"):
            StreamModel(config.model)
    except ValueError as error:
        raise UserError(f"model: {error}") from error


def _fabric(accelerator: str) -> Fabric:
    fabric = None if accelerator == "mps" else build_fabric(accelerator)
    if fabric is None or fabric.device.type == "mps":
        raise UserError("accelerator: expected cpu or cuda, got mps, which has no float64 for the statistics of features")
    return fabric


def _train(trainer: Trainer, folder: Path, resume: bool) -> bool:
    config, fabric = trainer.config, trainer.fabric
    progress = resume_from(folder, trainer.model, trainer.set_state) if resume else Progress()
    rate = ("samples", config.samples * fabric.world_size)
    with RunLoop(fabric, folder, config.budget, progress, unit="steps", columns=_COLUMNS, rate=rate) as run:
        run.announce(trainer.model, "random streams")
        while run.next_step():
            # forward and backward passes, optimizer step
            lr = learning_rate(config.schedule, config.optimizer.lr, progress.step, run.spent, config.model.stack.d_model)
            progress.add(trainer.step(progress.step, lr, run.spent))
            run.end_step()

            # once in a while: validation, and a row of metrics
            validating = run.is_due(config.validate_every)
            if validating or run.is_due(config.log_every):
                row = {"learning_rate": lr, **mean_over_processes(fabric, progress.pop_means())}
                text = f"loss {row['train_loss']:.3f}, accuracy {100 * row['train_accuracy']:.1f} %"
                if validating and fabric.is_global_zero:
                    found = _validate(trainer, run)
                    row |= {"val_accuracy": found.accuracy, "val_interval": found.interval, "val_loss": found.loss}
                    text += f", validation {found}"
                if validating:
                    run.end_validation()
                run.log(row, text, report=validating)

            # after each validation, and where training is to stop: a checkpoint
            if validating or run.stopping:
                run.save(trainer.model, {"progress": progress.to_dict(), **trainer.get_state()})
    return run.spent >= 1


def _validate(trainer: Trainer, run: RunLoop) -> Validation:
    """Accuracy on held-out streams; the weights are saved if it is the best so far."""
    config, model = trainer.config, trainer.validated_model
    found = validate(model, config.prior, config.validation_streams, config.validation_length)
    run.keep_best(model, found.accuracy, str(found))
    return found
