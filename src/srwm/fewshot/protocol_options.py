"""The options of protocols: a dataclass for each protocol, found by the protocol's name."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class ProtocolOptions:
    """Base class of the options of a protocol.

    An instance of this class in a `TrainConfig` means the default options of its protocol.
    """

    FORMER_FIELDS: ClassVar[tuple[str, ...]] = ()
    """Fields of `TrainConfig` in which earlier versions kept these options."""


OPTIONS: dict[str, type[ProtocolOptions]] = {}
"""The class of options of each protocol, by the protocol's name. A protocol adds itself when its class is defined."""
