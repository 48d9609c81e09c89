"""Recurrent layers with one interface: y, state = layer(x, state, resets, mask) and y = layer.query(x, state)."""

from srwm.nn.config import Carry, Option, Residual, StackConfig
from srwm.nn.fake_srwm import FakeSRWM
from srwm.nn.fast_weights import DeltaNet, LinearTransformer
from srwm.nn.feed_forward import FeedForward
from srwm.nn.layer import Core, Layer
from srwm.nn.lstm import LSTM
from srwm.nn.no_memory import NoMemory
from srwm.nn.recurrent_delta import RecurrentDelta
from srwm.nn.registry import CORES, build_core, replace_core
from srwm.nn.sr_delta import SRDelta
from srwm.nn.srwm import SRWM, SelfReferential
from srwm.nn.stack import Block, Stack
from srwm.nn.state import State, detach, index, leaves, map_state, reset
from srwm.nn.traces import learning_rates, shifts_over_time

__all__ = [
    "CORES",
    "LSTM",
    "SRWM",
    "Block",
    "Carry",
    "Core",
    "DeltaNet",
    "FakeSRWM",
    "FeedForward",
    "Layer",
    "LinearTransformer",
    "NoMemory",
    "Option",
    "RecurrentDelta",
    "Residual",
    "SRDelta",
    "SelfReferential",
    "Stack",
    "StackConfig",
    "State",
    "build_core",
    "detach",
    "index",
    "learning_rates",
    "leaves",
    "map_state",
    "replace_core",
    "reset",
    "shifts_over_time",
]
