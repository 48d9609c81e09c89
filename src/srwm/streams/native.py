"""One sample of one stream at a time, by a single call of the compiled library."""

import ctypes
import struct
from collections.abc import Iterable, Iterator
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from srwm.nn import Block, DeltaNet, FeedForward
from srwm.ops.cpu import library
from srwm.streams import statistics
from srwm.streams.experts import ExpertState, initial_experts
from srwm.streams.model import StreamModel, StreamState
from srwm.streams.statistics import Statistics

PackedState = bytes
"""A `StreamState` of one stream, dense, as api.h of the library says."""

_BLOCK = 32
"""`SRWM_STREAM_BLOCK` in api.h."""
_PROBLEM = struct.Struct("@7q3d2f2i")
_NEW_BYTES = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_char_p, ctypes.c_ssize_t)(
    ("PyBytes_FromStringAndSize", ctypes.pythonapi)
)
"""Bytes of a size, not yet written: a zeroed buffer and its copy would take as long as the rest."""


class NativeModel:
    """Computes what a `StreamModel` in evaluation mode does, for one sample of one stream, in a fraction of the time.

    Most of the time of such a call of the model itself is PyTorch's own, not that of its arithmetic. The weights are those at
    the time of construction. States go in and come out and nothing else changes, so that threads may share a model.

    Args:
        model: the model; see `supports`.

    Raises:
        ValueError: the model is not supported.
        RuntimeError: the library was not compiled or cannot be loaded.
    """

    def __init__(self, model: StreamModel) -> None:
        if not self.supports(model):
            raise ValueError("model: expected steps 'query', residual connections, DeltaNet, float32 on the CPU; got another")
        library.compiled()
        config, stack = model.config, model.config.stack
        head_dim = stack.d_model // stack.num_heads
        self._num_features, self._num_classes = config.num_features, config.num_classes
        self._experts = {name: part.shape[1:] for name, part in _expert_parts(model.initial_state(1)).items()}
        self._state = np.dtype(
            [
                ("statistics", np.float64, (4, config.num_features)),
                ("number", np.int64),
                ("sums", np.float64, self._experts["sums"]),
                ("memory", np.float32, (stack.num_layers, stack.num_heads, head_dim, head_dim)),
                ("window", np.float32, self._experts["window"]),
                ("labels", np.int32, self._experts["labels"]),
                ("seen", np.bool_, config.num_classes),
            ]
        )
        self._problem = _problem(model)
        self._bound_every = config.bound_every
        with torch.no_grad():
            self._weights = torch.cat([part.flatten() for part in _weights(model)])
            bound = model.bound
            self._limits = None if bound is None else torch.stack([*bound.log_norms]).exp().numpy()  # (layers, heads)

    @staticmethod
    def supports(model: StreamModel) -> bool:
        """Whether a model has a native form: DeltaNet in blocks with residual connections, questions that do not write.

        The learning rates of a DeltaNet end at 1 there.

        Args:
            model: the model.

        Returns:
            True if it does. The library may still be missing.
        """
        if type(model) is not StreamModel:
            return False
        config = model.config
        cores = [block.core for block in cast("Iterable[Block]", model.stack.blocks)]
        return (
            config.steps == "query"
            and config.stack.carry == "always"
            and config.stack.residual != "none"
            and all(type(core) is DeltaNet and core.beta_max == 1 for core in cores)
            and all(part.dtype is torch.float32 and part.device.type == "cpu" for part in model.parameters())
        )

    def packed(self, state: StreamState) -> PackedState:
        """A state of the model as this class takes it.

        Args:
            state: a state of one stream (B = 1).

        Returns:
            The packed state.

        Raises:
            ValueError: it is not of one stream, or not of this model.
        """
        record = np.zeros((), self._state)
        memory = torch.cat([torch.empty(0, *self._state["memory"].shape[1:], dtype=torch.float32, device="cpu"), *state.memory])
        parts = {"statistics": torch.cat(state.statistics), "number": state.number, "memory": memory, "seen": state.seen}
        parts |= _expert_parts(state)
        for name, part in parts.items():
            wanted = self._state[name].shape
            if part.shape != (wanted if name in ("statistics", "memory") else (1, *wanted)):
                raise ValueError(f"state: expected that of one stream, {name} {wanted}, got {tuple(part.shape)}")
            record[name] = part.detach().cpu().numpy().reshape(wanted)
        return record.tobytes()

    def unpacked(self, state: PackedState) -> StreamState:
        """The state as the model takes it.

        Args:
            state: what `packed` or `example` returned.

        Returns:
            The state of one stream, on the CPU, a copy.

        Raises:
            ValueError: it is not of this model.
        """
        self._check_state(state)
        (record,) = np.frombuffer(bytearray(state), self._state)
        parts = [torch.from_numpy(row[None]) for row in record["statistics"]]
        memory = tuple(torch.from_numpy(part[None]) for part in record["memory"])
        seen = torch.from_numpy(record["seen"][None])
        number = torch.tensor([int(record["number"])], dtype=torch.long, device="cpu")
        experts = [torch.from_numpy(record[name][None]) for name in self._experts]
        has_experts = bool(record["window"].size)
        return StreamState(Statistics(*parts), seen, number, memory, ExpertState(*experts) if has_experts else ())

    def question(self, x: NDArray[Any], present: NDArray[np.bool_], state: PackedState) -> NDArray[np.float32]:
        """Answer a sample as if it were the next one, as `StreamModel.query` does.

        Args:
            x: values of the features (F,).
            present: False for a missing value and for an unused slot (F,) bool.
            state: what `packed` or `example` returned.

        Returns:
            logits (C,).

        Raises:
            ValueError: a shape, a dtype or the state does not fit.
            MemoryError: there was no memory for the working set.
        """
        features = self._features(x, present)
        self._check_state(state)
        logits = ctypes.create_string_buffer(4 * self._num_classes)
        self._call("question", *features, state, logits)
        return np.frombuffer(memoryview(logits), np.float32)

    def example(self, x: NDArray[Any], present: NDArray[np.bool_], label: int, state: PackedState) -> PackedState:
        """Learn a sample, as `StreamModel.forward` does.

        Args:
            x: values of the features (F,).
            present: False for a missing value and for an unused slot (F,) bool.
            label: its class, from 0.
            state: what `packed` or `example` returned.

        Returns:
            The state after the sample.

        Raises:
            ValueError: a shape, a dtype, the label or the state does not fit.
            MemoryError: there was no memory for the working set.
        """
        features = self._features(x, present)
        self._check_state(state)
        if not 0 <= label < self._num_classes:
            raise ValueError(f"label: expected a class from 0 to {self._num_classes - 1}, got {label}")
        after: bytes = _NEW_BYTES(None, self._state.itemsize)  # which nobody else has seen: the library fills it
        self._call("example", *features, state, label, after)
        return self._bounded(after)

    def _bounded(self, state: PackedState) -> PackedState:
        """What the model's `MemoryBound` does once in `bound_every` samples."""
        if self._limits is None or int(np.frombuffer(state, self._state)["number"][0]) % self._bound_every:
            return state
        record = np.frombuffer(bytearray(state), self._state)
        memory = record["memory"][0]
        norms = np.sqrt(np.square(memory, dtype=np.float64).sum((2, 3)))
        memory *= np.minimum(self._limits / np.maximum(norms, 1e-6), 1)[..., None, None].astype(np.float32)
        return record.tobytes()

    def _call(self, name: str, *arguments: Any) -> None:
        library.compiled().call(f"srwm_stream_{name}", self._problem, self._weights.data_ptr(), *arguments)

    def _features(self, x: NDArray[Any], present: NDArray[np.bool_]) -> tuple[bytes, bytes]:
        """The arrays as the library takes them: it reads as much as there should be."""
        shape = (self._num_features,)
        if x.shape != shape:
            raise ValueError(f"x: expected (F,) = {shape}, got {x.shape}")
        if present.shape != shape or present.dtype != np.bool_:
            raise ValueError(f"present: expected (F,) = {shape} bool, got {present.shape} {present.dtype}")
        return x.astype(np.float64, copy=False).tobytes(), present.tobytes()

    def _check_state(self, state: PackedState) -> None:
        if not isinstance(state, bytes) or len(state) != self._state.itemsize:
            got = len(state) if isinstance(state, bytes) else type(state).__name__
            raise ValueError(f"state: expected {self._state.itemsize} bytes, a state of this model, got {got}")


def _expert_parts(state: StreamState) -> dict[str, Tensor]:
    """The parts of the experts' state of one stream, empty where there are none."""
    if state.experts:
        return state.experts._asdict()
    return (
        initial_experts(1, 0, 0, 0, torch.device("cpu"))
        ._replace(sums=torch.empty(1, 0, dtype=torch.float64, device="cpu"))
        ._asdict()
    )


def _problem(model: StreamModel) -> bytes:
    """`srwm_stream` in api.h."""
    config, stack = model.config, model.config.stack
    options = DeltaNet.default_options() | stack.core_options
    return _PROBLEM.pack(
        config.num_features,
        config.num_classes,
        stack.d_model,
        stack.num_layers,
        stack.num_heads,
        stack.ff_factor * stack.d_model,
        config.max_count,
        statistics.MEMORY,
        statistics.LIMIT,
        statistics.NOISE,
        model.norm.eps,
        options["eps"],
        options["feature_map"] == "l2",
        config.window if config.experts else 0,
    )


def _weights(model: StreamModel) -> Iterator[Tensor]:
    """All weights, in the order and layout of api.h."""
    yield from _linear(model.features[0])
    yield from _linear(model.features[2])
    yield _padded(model.labels.weight)
    yield from _norm(model.norm)
    for block in cast("Iterable[Block]", model.stack.blocks):
        yield from _block(block)
    yield from _norm(model.out[0])
    yield from _linear(model.out[1])


def _block(block: Block) -> Iterator[Tensor]:
    core = block.core
    assert isinstance(core, DeltaNet)
    yield from _norm(block.norm)
    heads = core.slow_net.weight.view(core.num_heads, core.slow_width, core.d_model)
    q, k, v, beta = (part.flatten(0, 1) for part in heads.split_with_sizes([core.head_dim] * 3 + [1], dim=1))
    yield _matrix(torch.cat([k, v, beta, q]))
    yield _matrix(core.out_linear.weight)
    if isinstance(block.feed_forward, FeedForward):
        yield from _norm(block.feed_forward.norm)
        yield from _linear(block.feed_forward.linear_in)
        yield from _linear(block.feed_forward.linear_out)


def _norm(norm: Any) -> Iterator[Tensor]:
    yield _padded(norm.weight)
    yield _padded(norm.bias)


def _linear(linear: Any) -> Iterator[Tensor]:
    yield _matrix(linear.weight)
    yield _padded(linear.bias)


def _matrix(weight: Tensor) -> Tensor:
    """The weight (outputs, inputs) of a linear layer as blocks of columns, dense row by row."""
    columns = _padded(weight.T)
    return torch.cat([block.flatten() for block in torch.split(columns, _BLOCK, dim=1)])


def _padded(rows: Tensor) -> Tensor:
    """Zeros behind the last axis, to a multiple of half a block."""
    return F.pad(rows, (0, -rows.shape[-1] % (_BLOCK // 2)))
