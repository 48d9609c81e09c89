"""Modules of the optional packages of this laboratory, imported on first use."""

from importlib import import_module
from typing import Any

from srwm.errors import UserError


def import_optional(name: str) -> Any:
    """Import a module of River or scikit-learn.

    Args:
        name: the module, such as `river.datasets.synth`.

    Returns:
        The module.

    Raises:
        UserError: its package is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        package = name.partition(".")[0]
        if (error.name or "").partition(".")[0] != package:
            raise
        raise UserError(f"this needs {package}, which is not installed: pip install 'srwm[streams]'") from error
