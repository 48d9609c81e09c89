"""`srwm playground`: teach a memory by drawing, in the browser."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated

from srwm.cli.options import parse, set_threads
from srwm.errors import UserError
from srwm.ranges import AtLeast, Between


@dataclass(frozen=True)
class PlaygroundOptions:
    """Open a page on this machine (127.0.0.1 alone) to draw letters, name them, and ask. It needs no internet."""

    model: str = "characters"
    """bundled checkpoint, run folder or folder with a checkpoint"""
    port: Annotated[int, Between(1024, 65535)] = 7860
    """port of the page"""
    browser: bool = True
    """open the page in a browser"""
    threads: Annotated[int, AtLeast(1)] | None = None
    """number of PyTorch threads; None: PyTorch's default"""


def playground(arguments: Sequence[str]) -> None:
    """Serve the page until Ctrl-C.

    Args:
        arguments: the words of the command line after `srwm playground`.

    Raises:
        UserError: the model cannot be loaded, or the port is in use.
        SystemExit: wrong usage, or help was printed.
    """
    options = parse(PlaygroundOptions, "srwm playground", arguments)
    set_threads(options.threads)
    page = import_module("srwm.playground.page")
    application = page.build(options.model)
    try:
        page.launch(application, server_name="127.0.0.1", server_port=options.port, inbrowser=options.browser)
    except OSError as error:
        raise UserError(f"port {options.port} of 127.0.0.1 cannot be opened: choose another one by --port") from error
