"""The prior over streams."""

from srwm.streams.prior.config import PriorConfig
from srwm.streams.prior.sample import Streams, draw_streams, in_order_of_appearance

__all__ = ["PriorConfig", "Streams", "draw_streams", "in_order_of_appearance"]
