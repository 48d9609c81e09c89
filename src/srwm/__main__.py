"""The program `srwm`, and `python -m srwm`: the command line."""

import os
import signal
import sys
from types import FrameType


def run() -> int:
    """Run the command line and return its exit status. Ctrl-C during the imports ends it at once, with one line."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)
    from srwm.cli import main

    return main(when_imported=_restore)


def _end(number: int, frame: FrameType | None) -> None:
    os.write(2, b"srwm: interrupted\n")
    os._exit(130)  # an exception would pass through modules that are half imported, and come out as another one


def _restore() -> None:
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


if __name__ == "__main__":
    sys.exit(run())
