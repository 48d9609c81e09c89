import ctypes
import os
import platform
import signal
import subprocess
import sys
import time
import warnings

import pytest

from srwm.cli import process
from srwm.cli.process import prepare_process

VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "MALLOC_ARENA_MAX", "MALLOC_TRIM_THRESHOLD_")


@pytest.fixture
def environment(monkeypatch):
    """This process's environment without the variables in query; all changes are undone."""
    bare = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    monkeypatch.setattr(os, "environ", bare)
    return bare


@pytest.fixture
def calls(monkeypatch):
    made = []

    class Library:
        @staticmethod
        def mallopt(option, value):
            made.append((option, value))
            return option == -3 and value == 2**25

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Library)
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36"))
    return made


def test_a_refused_setting_is_a_warning(environment, calls):
    with pytest.warns(RuntimeWarning, match="refused"):
        prepare_process()
    assert calls == [(-3, 2**30), (-3, 2**25), (-1, 2**30), (-1, 2**25)]
    assert environment["OMP_WAIT_POLICY"] == "passive"
    assert environment["GOMP_SPINCOUNT"] == "0"


def test_what_the_user_set_stays(environment, calls):
    environment.update(OMP_WAIT_POLICY="active", MALLOC_TRIM_THRESHOLD_="1")
    prepare_process()
    assert calls == []
    assert environment["OMP_WAIT_POLICY"] == "active"
    assert "GOMP_SPINCOUNT" not in environment


def test_warnings_of_the_package_are_one_line_and_others_stay(environment, monkeypatch):
    environment["MALLOC_ARENA_MAX"] = "1"
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    prepare_process()
    assert warnings.formatwarning("left out", UserWarning, process.__file__, 3) == "srwm: left out\n"
    assert warnings.formatwarning("left out", UserWarning, __file__, 3).startswith(f"{__file__}:3: UserWarning: left out")


def test_other_c_libraries_are_left_alone(environment, calls, monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    prepare_process()
    assert calls == []


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_glibc_accepts_the_settings(environment):
    prepare_process()


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
def test_an_interrupt_while_modules_are_imported_is_one_line(tmp_path):
    """Each process is interrupted a little later after the start of the program; the last ones are at work by then."""
    program = "import sys; from srwm.__main__ import run; print('.', end='', flush=True); sys.exit(run())"
    train = ["fewshot", "train", "cpu-omniglot-1shot", "--data", "glyphs", "--run", str(tmp_path / "run")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}

    def heed_interrupts() -> None:
        """Whoever started the tests may ignore them, as a shell does in the background."""
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    for delay in (0.01, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6):
        command = [sys.executable, "-c", program, *train]
        with subprocess.Popen(command, text=True, preexec_fn=heed_interrupts, **pipes) as started:
            started.stdout.read(1)
            time.sleep(delay)
            started.send_signal(signal.SIGINT)
            shown = started.communicate()[1]
        assert (started.returncode, shown) == (130, "srwm: interrupted\n"), delay
