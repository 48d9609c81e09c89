"""The command line: `srwm demo`, `srwm learn`, `srwm predict`, `srwm fewshot ...`, `srwm rl ...` and others."""

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import NamedTuple

from srwm import __version__
from srwm.cli.process import prepare_process
from srwm.errors import UserError, one_line


class Command(NamedTuple):
    """A command's one-line help, and the module and name of its function, imported only when it is called."""

    about: str
    module: str
    function: str


COMMANDS = {
    "demo": Command("classify letters from unseen scripts with the bundled model", "srwm.cli.demo", "demo"),
    "learn": Command("learn class folders of a few images each, and save what was learned", "srwm.cli.memory", "learn"),
    "predict": Command("classify images by what srwm learn saved", "srwm.cli.memory", "predict"),
    "playground": Command("teach a memory by drawing, in the browser", "srwm.cli.playground", "playground"),
    "export": Command("write a few-shot model as ONNX, for runtimes without PyTorch", "srwm.cli.export", "export"),
    "fewshot train": Command("train a few-shot learner from a preset, then test it", "srwm.cli.fewshot", "train"),
    "fewshot heads": Command("train the heads of a model on features of its stem", "srwm.cli.heads", "heads"),
    "fewshot evaluate": Command("measure the accuracy of a trained run, and of baselines", "srwm.cli.fewshot", "evaluate"),
    "fewshot adaptation": Command(
        "draw how fast runs with delayed labels adapt to new tasks", "srwm.cli.fewshot", "adaptation"
    ),
    "fewshot curves": Command("draw the learning curves of one or more runs", "srwm.cli.fewshot", "curves"),
    "fewshot figures": Command(
        "draw a trained run: learning curves, accuracy per shot, weight matrices", "srwm.cli.fewshot", "figures"
    ),
    "rl train": Command("train an agent on one or more tasks, from a preset", "srwm.cli.rl", "train"),
    "rl evaluate": Command("measure the returns of a trained agent, on training and test levels", "srwm.cli.rl", "evaluate"),
    "rl watch": Command("write a video of one episode of a trained agent", "srwm.cli.rl", "watch"),
    "rl curves": Command("draw the returns of one or more runs", "srwm.cli.rl", "curves"),
    "streams train": Command("train a learner of streams on random streams", "srwm.cli.streams", "train"),
    "streams evaluate": Command("measure a trained learner of streams on held-out ones", "srwm.cli.streams", "evaluate"),
    "streams curves": Command("draw the learning curves of one or more runs", "srwm.cli.streams", "curves"),
    "streams prior": Command("draw random streams as training sees them", "srwm.cli.streams", "prior"),
    "sequences train": Command(
        "train on a formal language, a group or an automaton, from a preset, then test", "srwm.cli.sequences", "train"
    ),
    "sequences evaluate": Command("measure a trained run on longer sequences", "srwm.cli.sequences", "evaluate"),
    "sequences curves": Command("draw the answers of one or more runs over time and position", "srwm.cli.sequences", "curves"),
    "stream": Command("learn the rows of a CSV file one by one, predicting each before", "srwm.cli.stream", "stream"),
}
_EXTRA_OF = dict.fromkeys(("lightning_fabric", "PIL", "pooch", "matplotlib", "tensorboard"), "fewshot") | {
    **dict.fromkeys(("gymnasium", "popgym", "minigrid"), "rl"),
    "huggingface_hub": "hub",
    **dict.fromkeys(("onnx", "onnxscript"), "onnx"),
    "gradio": "playground",
}


def main(arguments: Sequence[str] | None = None, *, when_imported: Callable[[], object] = lambda: None) -> int:
    """Run one command.

    Options that cannot be parsed are explained on stderr, and SystemExit(2) is raised. In `--option=~/path` the ~ is expanded,
    as the shell does in `--option ~/path`.

    Args:
        arguments: the words of the command line; None: those of this process.
        when_imported: called after the command's modules have been imported, before the command runs.

    Returns:
        The exit status: 0; 1 after a failure, with one line on stderr; 2 after wrong usage; 130 after Ctrl-C.
    """
    words = list(map(_at_home, sys.argv[1:] if arguments is None else arguments))
    if not words or words[0] in ("-h", "--help"):
        print(_overview(""))
        return 0
    if words == ["--version"]:
        print(f"srwm {__version__}")
        return 0
    name = next((name for name in COMMANDS if words[: len(name.split())] == name.split()), None)
    if name is None:
        group = words[0] if any(name.startswith(f"{words[0]} ") for name in COMMANDS) else ""
        if group and (len(words) == 1 or words[1] in ("-h", "--help")):
            print(_overview(group))
            return 0
        return _fail(f"no command {' '.join(words[:2] if group else words[:1])!r}; see srwm --help", 2)
    prepare_process()
    command = COMMANDS[name]
    try:
        function = getattr(import_module(command.module), command.function)
        when_imported()
        function(words[len(name.split()) :])
    except UserError as error:
        return _fail(error, 1)
    except ModuleNotFoundError as error:
        extra = _EXTRA_OF.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        extra = "rl" if name.startswith("rl ") else "streams" if name.startswith("stream") else extra
        return _fail(f"this command needs {error.name}, which is not installed: pip install 'srwm[{extra}]'", 1)
    except OSError as error:
        return _fail(error, 1)
    except RuntimeError as error:
        if not _is_lost_peer(error):
            raise
        return _fail(
            "another process of this run has ended, so this one ends too; --resume continues from the last checkpoint", 1
        )
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    return 0


def _at_home(word: str) -> str:
    option, equals, value = word.partition("=")
    return option + equals + os.path.expanduser(value)


def _is_lost_peer(error: RuntimeError) -> bool:
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return False
    from srwm.training.distributed import is_lost_peer

    return is_lost_peer(error)


def _overview(group: str) -> str:
    commands = {name: command for name, command in COMMANDS.items() if name.startswith(group)}
    width = max(map(len, commands))
    rows = "\n".join(f"  srwm {name:<{width}}  {command.about}" for name, command in commands.items())
    return f"Self-referential weight matrices for PyTorch: commands.\n\n{rows}\n\nRun a command with --help for its options."


def _fail(message: object, code: int) -> int:
    print(f"srwm: {one_line(message)}", file=sys.stderr)
    return code
