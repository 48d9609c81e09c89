"""Recurrent layers with one interface: y, state = layer(x, state, resets, mask) and y = layer.query(x, state)."""

from srwm.nn.config import Carry, Option, Residual, StackConfig
from srwm.nn.delta_net import DeltaNet, GatedDeltaNet
from srwm.nn.delta_product import DeltaProduct
from srwm.nn.fake_srwm import FakeSRWM
from srwm.nn.fast_weights import LinearTransformer
from srwm.nn.feed_forward import FeedForward
from srwm.nn.gru import GRU
from srwm.nn.layer import Core, Layer
from srwm.nn.lstm import LSTM
from srwm.nn.no_memory import NoMemory
from srwm.nn.recurrent_delta import RecurrentDelta
from srwm.nn.registry import CORES, build_core, replace_core
from srwm.nn.self_modifying_memory import SelfModifyingMemory
from srwm.nn.sr_delta import SRDelta
from srwm.nn.srwm import SRWM, SelfReferential
from srwm.nn.stack import Block, Stack
from srwm.nn.state import State, detach, index, leaves, map_state, reset
from srwm.nn.traces import learning_rates, shifts_over_time
from srwm.nn.transformer import Transformer

__all__ = [
    "CORES",
    "GRU",
    "LSTM",
    "SRWM",
    "Block",
    "Carry",
    "Core",
    "DeltaNet",
    "DeltaProduct",
    "FakeSRWM",
    "FeedForward",
    "GatedDeltaNet",
    "Layer",
    "LinearTransformer",
    "NoMemory",
    "Option",
    "RecurrentDelta",
    "Residual",
    "SRDelta",
    "SelfModifyingMemory",
    "SelfReferential",
    "Stack",
    "StackConfig",
    "State",
    "Transformer",
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
