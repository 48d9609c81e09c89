"""Training on a sequence task."""

from pathlib import Path

import torch

from srwm.errors import UserError
from srwm.sequences.config import TrainConfig
from srwm.sequences.model import SequenceModel
from srwm.sequences.scoring import Score, answers_of, score
from srwm.sequences.tasks import Task, build_task
from srwm.sequences.training.trainer import Trainer
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
    "val_sequences",
    "val_tokens",
)


def train(config: TrainConfig, folder: Path, *, resume: bool = False, accelerator: str = "auto") -> bool:
    """Train in a run folder; the weights of the best validation are in its `best.safetensors`.

    The best validation has the largest sum of two accuracies, that of sequences and that of tokens. A run that was stopped or
    killed continues with `resume=True` from its last checkpoint. With a budget in steps the final weights are bit-identical to
    those of an uninterrupted run. Under `torchrun` each process draws sequences of its own.

    Args:
        config: the configuration.
        folder: the run folder, created here unless `resume`.
        resume: continue from the last checkpoint.
        accelerator: cpu, cuda, mps or auto.

    Returns:
        True at the end of the budget, False if Ctrl-C or SIGTERM stopped training before.

    Raises:
        UserError: the folder exists (or, with `resume`, is not a run, has another configuration, or is in use by another
            process), a checkpoint is corrupt or cannot be saved, the configuration is inconsistent, the device is missing, data
            is missing, or the loss or its gradient is not finite.
    """
    task = check_config(config)
    fabric = build_fabric(accelerator)
    torch.manual_seed(config.seed)
    trainer = Trainer(config, task, fabric)
    with open_run(fabric, folder, config, resume, first_checkpoint=config.validate_every):
        return _train(trainer, folder, resume)


def check_config(config: TrainConfig) -> Task:
    """Check a configuration.

    Args:
        config: the configuration.

    Returns:
        Its task.

    Raises:
        UserError: a value is out of its range, there is no budget, or the task or the stack does not fit.
    """
    check_values(config)
    config.budget.check()
    task = build_task(config.task)
    try:
        with torch.device("meta"):
            SequenceModel(task, config.stack)
    except ValueError as error:
        raise UserError(f"stack: {error}") from error
    return task


def _train(trainer: Trainer, folder: Path, resume: bool) -> bool:
    config, fabric = trainer.config, trainer.fabric
    progress = resume_from(folder, trainer.model, trainer.set_state) if resume else Progress()
    rate = ("sequences", config.batch_size * fabric.world_size)
    with RunLoop(fabric, folder, config.budget, progress, unit="steps", columns=_COLUMNS, rate=rate) as run:
        run.announce(trainer.model, f"task {config.task.name}")
        while run.next_step():
            # forward and backward passes, optimizer step
            lr = learning_rate(config.schedule, config.optimizer.lr, progress.step, run.spent, config.stack.d_model)
            progress.add(trainer.step(progress.step, lr))
            run.end_step()

            # once in a while: validation, and a row of metrics
            validating = run.is_due(config.validate_every)
            if validating or run.is_due(config.log_every):
                row = {"learning_rate": lr, **mean_over_processes(fabric, progress.pop_means())}
                text = f"loss {row['train_loss']:.4f}, {100 * row['train_accuracy']:.2f} % of the answers"
                if validating and fabric.is_global_zero:
                    found = _validate(trainer, run)
                    row |= {"val_sequences": found.sequences, "val_tokens": found.tokens}
                    text += f"; validation: {found}"
                if validating:
                    run.end_validation()
                run.log(row, text, report=validating)

            # after each validation, and where training is to stop: a checkpoint
            if validating or run.stopping:
                run.save(trainer.model, {"progress": progress.to_dict(), **trainer.get_state()})
    return run.spent >= 1


def _validate(trainer: Trainer, run: RunLoop) -> Score:
    """Accuracy on sequences of validation; the weights are saved if it is the best so far."""
    task, model = trainer.task, trainer.model
    found = score(task, answers_of(model), "val", task.validation, trainer.config.validation_sequences)
    run.keep_best(model, found.sequences + found.tokens, str(found))
    return found
