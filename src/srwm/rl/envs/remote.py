"""gymnasium environments in a worker process."""

import contextlib
import multiprocessing.process
import multiprocessing.util
import os
import signal
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srwm.errors import UserError
from srwm.rl.envs.gymnasium import LocalEnv
from srwm.rl.envs.interface import EnvCrashError, EnvSpec, Frame
from srwm.rl.envs.vector import SteppedEnv


class RemoteEnv(SteppedEnv):
    """A LocalEnv in a worker process.

    Args:
        names: task of each environment.
        seeds: random seed of each environment.
        timeout: longest wait for a frame, in seconds; can be changed later.

    Raises:
        UserError: as `LocalEnv`.
        EnvCrashError: the process died or did not respond.
    """

    def __init__(self, names: Sequence[str], seeds: Sequence[int], timeout: float = 300) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, far_end = context.Pipe()
        self.timeout = timeout
        self._process = context.Process(target=_serve, args=(far_end, tuple(names), tuple(seeds)), daemon=True)
        self._process.start()
        far_end.close()
        # runs in `close`, when the object is collected, or at exit, before multiprocessing joins its processes
        self._end = multiprocessing.util.Finalize(self, _end, (self._pipe, self._process), exitpriority=10)
        super().__init__(EnvSpec((), "float32", 0), names)
        try:
            self.spec = self._receive()
        except BaseException:
            self.close()
            raise

    def _start(self, actions: NDArray[np.int64]) -> None:
        with contextlib.suppress(OSError):  # observe reports a dead process
            self._pipe.send(actions)

    def _wait(self) -> Frame:
        frame: Frame = self._receive()
        return frame

    def _receive(self) -> Any:
        try:
            if not self._pipe.poll(self.timeout):
                raise EnvCrashError(f"the process of {self._tasks()} did not respond for {self.timeout:g} s")
            reply = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            reply = EnvCrashError(f"the process of {self._tasks()} died with exit code {self._process.exitcode}")
        if isinstance(reply, Exception):
            raise reply
        return reply

    def _tasks(self) -> str:
        return ", ".join(dict.fromkeys(self.names))

    def _shut(self) -> None:
        self._end()


def _end(pipe: Connection, process: multiprocessing.process.BaseProcess) -> None:
    pipe.close()
    process.join(timeout=5)
    if process.is_alive():
        process.kill()
        process.join()
    process.close()


def _serve(pipe: Connection, names: tuple[str, ...], seeds: tuple[int, ...]) -> None:
    """Send the EnvSpec, the first frame, and a frame for every array of actions, until the pipe is closed."""
    parent = os.getppid()

    def leave_to_parent(number: int, frame: object) -> None:
        """Ignore a signal to the process group: the parent handles it and closes the pipe."""
        if os.getppid() != parent:
            os._exit(128 + number)

    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, leave_to_parent)  # not SIG_IGN, which programs that an environment starts would inherit
    with contextlib.suppress(EOFError, OSError):
        try:
            with LocalEnv(names, seeds) as env:
                pipe.send(env.spec)
                pipe.send(env.observe())
                while True:
                    env.act(pipe.recv())
                    pipe.send(env.observe())
        except (UserError, EnvCrashError) as error:
            pipe.send(error)
        except Exception:
            pipe.send(EnvCrashError(f"the process of {', '.join(names)} failed:\n{traceback.format_exc()}"))
