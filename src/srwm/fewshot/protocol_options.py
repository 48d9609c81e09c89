"""The options of protocols: a dataclass for each protocol, found by the protocol's name."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class ProtocolOptions:
    """Options of one protocol; this base class has none.

    In a `TrainConfig` it stands for the default options of the protocol that the configuration names.
    """

    FORMER_FIELDS: ClassVar[tuple[str, ...]] = ()
    """Fields of `TrainConfig` in which earlier versions kept these options."""


OPTIONS: dict[str, type[ProtocolOptions]] = {}
"""The class of options of each protocol, by the protocol's name. A protocol adds itself when its class is defined."""
