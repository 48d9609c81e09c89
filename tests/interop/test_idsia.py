"""Official checkpoints: the loaded model computes what the official model computes.

The official forward pass is written out here from its description, time first, on weights drawn at random.
"""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from srwm.fewshot.models.sequence import FewShotModel
from srwm.interop.idsia import load_few_shot

Weights = dict[str, Tensor]
D, HEADS, E, WAYS, FF, LAYERS = 12, 3, 4, 5, 24, 2


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


# --- weights under the official names ---------------------------------------------------------------------------------


def linear(name: str, rows: int, columns: int, bias: bool = True) -> Weights:
    weights = {f"{name}.weight": torch.randn(rows, columns) / columns**0.5}
    return weights | ({f"{name}.bias": torch.randn(rows)} if bias else {})


def norm(name: str, width: int) -> Weights:
    return {f"{name}.weight": torch.rand(width) + 0.5, f"{name}.bias": torch.randn(width)}


def batch_norm(name: str, width: int) -> Weights:
    statistics = {f"{name}.running_mean": torch.randn(width), f"{name}.running_var": torch.rand(width) + 0.5}
    return norm(name, width) | statistics | {f"{name}.num_batches_tracked": torch.tensor(7)}


def conv(name: str, rows: int, columns: int, size: int = 3) -> Weights:
    return {f"{name}.weight": torch.randn(rows, columns, size, size) / (columns * size**2) ** 0.5}


def conv4_weights(channels: int, in_channels: int) -> Weights:
    weights: Weights = {}
    for i in range(4):
        weights |= conv(f"conv_layers.{i}.0", channels, channels if i else in_channels)
        weights |= {f"conv_layers.{i}.0.bias": torch.randn(channels)} | batch_norm(f"conv_layers.{i}.1", channels)
    return weights


def res12_weights(channels: tuple[int, ...]) -> Weights:
    weights: Weights = {}
    for i, (before, width) in enumerate(zip((3, *channels[:-1]), channels, strict=True), start=1):
        layer = f"stem_resnet12.layer{i}"
        for j in (1, 2, 3):
            weights |= conv(f"{layer}.conv{j}", width, width if j > 1 else before) | batch_norm(f"{layer}.bn{j}", width)
        weights |= conv(f"{layer}.downsample.0", width, before, 1) | batch_norm(f"{layer}.downsample.1", width)
    return weights


def srwm_weights(name: str, use_ln: bool = True) -> Weights:
    weights = {f"{name}.{part}": torch.randn(1, HEADS, E, E) / E**0.5 for part in ("W_y", "W_q", "W_k")}
    weights |= {f"{name}.w_b": torch.randn(1, HEADS, E, 4)} | linear(f"{name}.out_linear", D, D, bias=False)
    return weights | (norm(f"{name}.layer_norm", D) if use_ln else {})


def delta_weights(name: str) -> Weights:
    slow = linear(f"{name}.slow_net", HEADS * (3 * E + 1), D, bias=False)
    return slow | norm(f"{name}.layer_norm", D) | linear(f"{name}.out_linear", D, D, bias=False)


def feed_forward_weights(name: str) -> Weights:
    return norm(f"{name}.layer_norm", D) | linear(f"{name}.ff_layers.0", FF, D) | linear(f"{name}.ff_layers.3", D, FF)


def model_weights(stem: Weights, features: int, core: Callable[[str], Weights], bootstrapped: bool = False) -> Weights:
    weights = stem | linear("input_proj", D, features + WAYS) | linear("out_layer", WAYS, D)
    for i in range(LAYERS):
        weights |= core(f"fw_layers.{i}" if bootstrapped else f"layers.{2 * i}")
        weights |= feed_forward_weights(f"ff_layers.{i}" if bootstrapped else f"layers.{2 * i + 1}")
    return weights


def lstm_weights(stem: Weights, features: int, num_layers: int = 1) -> Weights:
    rnn = nn.LSTM(features + WAYS, D, num_layers=num_layers)
    weights = {f"rnn.{name}": weight.detach().clone() for name, weight in rnn.named_parameters()}
    return stem | weights | linear("out_layer", WAYS, D)


# --- the official forward pass, time first ----------------------------------------------------------------------------


def official_batch_norm(w: Weights, name: str, x: Tensor) -> Tensor:
    return F.batch_norm(x, *(w[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")))


def official_stem(w: Weights, x: Tensor) -> Tensor:
    if "conv_layers.0.0.weight" in w:
        for i in range(4):
            x = F.conv2d(x, w[f"conv_layers.{i}.0.weight"], w[f"conv_layers.{i}.0.bias"], padding=1)
            x = F.max_pool2d(official_batch_norm(w, f"conv_layers.{i}.1", x), 2).relu()
        return x.flatten(1)
    for i in range(1, 5):
        layer, y = f"stem_resnet12.layer{i}", x
        for j in (1, 2, 3):
            y = official_batch_norm(w, f"{layer}.bn{j}", F.conv2d(y, w[f"{layer}.conv{j}.weight"], padding=1))
            y = F.leaky_relu(y, 0.1) if j < 3 else y
        skip = official_batch_norm(w, f"{layer}.downsample.1", F.conv2d(x, w[f"{layer}.downsample.0.weight"]))
        x = F.max_pool2d(F.leaky_relu(y + skip, 0.1), 2)
    return x.mean((2, 3))


def official_srwm(w: Weights, name: str, h: Tensor, softmax: bool) -> Tensor:
    steps, batch, _ = h.shape
    x = h.view(steps, batch, HEADS, 1, E)
    x = x.softmax(-1) if softmax else x
    matrices = [w[f"{name}.{part}"].expand(batch, -1, -1, -1).clone() for part in ("W_y", "W_q", "W_k", "w_b")]
    outputs = []
    for t in range(steps):
        y, q, k, beta = (x[t] @ matrix for matrix in matrices)
        q, k, rates = q.softmax(-1), k.softmax(-1), beta.sigmoid()
        matrices = [
            matrix + rates[..., i : i + 1] * k.transpose(2, 3) @ (q @ matrix - k @ matrix) for i, matrix in enumerate(matrices)
        ]
        outputs.append(y.reshape(batch, D))
    y = torch.stack(outputs) @ w[f"{name}.out_linear.weight"].T
    return y + (official_layer_norm(w, name, h) if f"{name}.layer_norm.weight" in w else h)


def official_delta(w: Weights, name: str, x: Tensor) -> Tensor:
    steps, batch, _ = x.shape
    z = (official_layer_norm(w, name, x) @ w[f"{name}.slow_net.weight"].T).view(steps, batch, HEADS, 3 * E + 1)
    q, k, v, beta = z.split([E, E, E, 1], dim=-1)
    q, k = (F.elu(a) + 1 for a in (q, k))
    q, k, beta = q / q.sum(-1, keepdim=True), k / k.sum(-1, keepdim=True), beta.sigmoid()
    fast = torch.zeros(batch, HEADS, E, E)
    outputs = []
    for t in range(steps):
        stored = (fast @ k[t][..., None])[..., 0]
        fast = fast + (beta[t] * (v[t] - stored))[..., None] * k[t][..., None, :]
        outputs.append((fast @ q[t][..., None]).reshape(batch, D))
    return x + torch.stack(outputs) @ w[f"{name}.out_linear.weight"].T


def official_layer_norm(w: Weights, name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, [D], w[f"{name}.layer_norm.weight"], w[f"{name}.layer_norm.bias"])


def official_feed_forward(w: Weights, name: str, x: Tensor) -> Tensor:
    hidden = F.linear(official_layer_norm(w, name, x), w[f"{name}.ff_layers.0.weight"], w[f"{name}.ff_layers.0.bias"])
    return x + F.linear(hidden.relu(), w[f"{name}.ff_layers.3.weight"], w[f"{name}.ff_layers.3.bias"])


def official_logits(w: Weights, images: Tensor, labels: Tensor, softmax: bool) -> Tensor:
    """images (T, B, C, H, W), labels (T, B) -> (T, B, N)."""
    features = official_stem(w, images.flatten(0, 1)).view(*labels.shape, -1)
    x = torch.cat([features, F.one_hot(labels, WAYS)], dim=-1)
    if "rnn.weight_hh_l0" in w:
        rnn = nn.LSTM(x.shape[-1], D, num_layers=sum("weight_hh" in name for name in w))
        rnn.load_state_dict({name.removeprefix("rnn."): weight for name, weight in w.items() if name.startswith("rnn.")})
        x, _ = rnn(x)
    else:
        x = F.linear(x, w["input_proj.weight"], w["input_proj.bias"])
        for i in range(LAYERS):
            bootstrapped = "fw_layers.0.W_y" in w
            core, feed_forward = (
                (f"fw_layers.{i}", f"ff_layers.{i}") if bootstrapped else (f"layers.{2 * i}", f"layers.{2 * i + 1}")
            )
            x = official_srwm(w, core, x, softmax) if f"{core}.W_y" in w else official_delta(w, core, x)
            x = official_feed_forward(w, feed_forward, x)
    return F.linear(x, w["out_layer.weight"], w["out_layer.bias"])


# --- the tests --------------------------------------------------------------------------------------------------------

MODELS: dict[str, tuple[Callable[[], Weights], tuple[int, int, int], bool]] = {
    "Omniglot SRWM": (lambda: model_weights(conv4_weights(6, 1), 6, srwm_weights), (1, 28, 28), False),
    "SRWM, input softmax": (lambda: model_weights(conv4_weights(6, 1), 6, srwm_weights), (1, 28, 28), True),
    "SRWM without norm": (
        lambda: model_weights(conv4_weights(6, 1), 6, lambda name: srwm_weights(name, use_ln=False)),
        (1, 28, 28),
        False,
    ),
    "Mini-ImageNet DeltaNet": (lambda: model_weights(conv4_weights(4, 3), 100, delta_weights), (3, 84, 84), False),
    "FC100 SRWM": (lambda: model_weights(conv4_weights(4, 3), 16, srwm_weights), (3, 32, 32), False),
    "Res-12 SRWM": (lambda: model_weights(res12_weights((4, 5, 6, 8)), 8, srwm_weights), (3, 32, 32), False),
    "Res-12 DeltaNet": (lambda: model_weights(res12_weights((4, 5, 6, 8)), 8, delta_weights), (3, 84, 84), False),
    "bootstrapping": (lambda: model_weights(conv4_weights(4, 3), 100, srwm_weights, bootstrapped=True), (3, 84, 84), False),
    "Omniglot LSTM": (lambda: lstm_weights(conv4_weights(6, 1), 6), (1, 28, 28), False),
    "Res-12 LSTM, two layers": (lambda: lstm_weights(res12_weights((4, 5, 6, 8)), 8, 2), (3, 32, 32), False),
}


@pytest.mark.parametrize("name", MODELS)
def test_logits_are_the_official_ones(name: str) -> None:
    make, image_shape, softmax = MODELS[name]
    weights = make()
    model = load_few_shot(weights, use_input_softmax=softmax)
    assert isinstance(model, FewShotModel)
    assert not model.training
    images = torch.randn(2, 6, *image_shape)
    labels = torch.randint(0, WAYS, (2, 6))
    labels[:, -1] = 0
    unlabeled = labels.clone()
    unlabeled[:, -1] = -1
    official = official_logits(weights, images.transpose(0, 1), labels.T, softmax).transpose(0, 1)
    assert_close(model(images, labels)[0], official, rtol=0, atol=1e-5)
    assert_close(model(images, unlabeled)[0], official, rtol=0, atol=1e-5)
    _, state = model(images[:, :-1], labels[:, :-1])
    assert_close(model.query(images[:, -1:], state), official[:, -1:], rtol=0, atol=1e-5)


def test_every_weight_matters_or_is_counted() -> None:
    weights = MODELS["bootstrapping"][0]()
    model = load_few_shot(weights)
    assert sum(p.numel() for p in model.state_dict().values()) == sum(w.numel() for w in weights.values())


@pytest.mark.parametrize("wrap", [False, True], ids=["bare", "wrapped"])
def test_sources(tmp_path: Path, wrap: bool) -> None:
    weights = MODELS["Omniglot SRWM"][0]()
    content = {"model_state_dict": weights, "optimizer_state_dict": {"state": {}}, "epoch": 3} if wrap else weights
    path = tmp_path / "best_model.pt"
    torch.save(content, path)
    reference = load_few_shot(weights).state_dict()
    for source in (path, str(path), content):
        assert_close(load_few_shot(source).state_dict(), reference, rtol=0, atol=0)


def without(name: str) -> Callable[[Weights], Weights]:
    return lambda weights: {key: value for key, value in weights.items() if key != name}


def with_shape(name: str, *shape: int) -> Callable[[Weights], Weights]:
    return lambda weights: weights | {name: torch.zeros(shape)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("layers.0.W_q"), "missing: layers.0.W_q"),
        (without("layers.1.ff_layers.3.bias"), "missing: layers.1.ff_layers.3.bias"),
        (without("conv_layers.2.1.running_var"), "missing: conv_layers.2.1.running_var"),
        (without("out_layer.weight"), "source: expected out_layer.weight, which is missing"),
        (without("input_proj.weight"), "source: expected input_proj.weight, which is missing"),
        (without("conv_layers.0.0.weight"), "source: expected conv_layers.0.0.weight or stem_resnet12.layer1.conv1.weight"),
        (without("layers.0.W_y"), "source: expected layers.0.W_y, layers.0.slow_net.weight or rnn.weight_hh_l0, found none"),
        (with_shape("layers.2.w_b", 1, 3, 4, 5), "of another shape: layers.2.w_b (expected (1, 3, 4, 4), got (1, 3, 4, 5))"),
        (with_shape("layers.0.W_y", 1, 5, 4, 4), "num_heads: expected a divisor of d_model = 12, got 5"),
        (with_shape("layers.0.W_y", 3, 4, 4), "layers.0.W_y: expected 4 axes, none of them empty, got (3, 4, 4)"),
        (with_shape("input_proj.weight", 12, 18), "source: expected 6 x s x s features of conv_layers.3, got 13 as input"),
        (with_shape("layers.0.bias", 3), "unexpected: layers.0.bias"),
        (lambda weights: weights | {f"a{i}": torch.zeros(1) for i in range(20)}, "and 12 more"),
        (lambda weights: {"model_state_dict": 3}, "source: expected a state dict, got int"),
        (lambda weights: {}, "source: expected a state dict, got dict"),
        (lambda weights: weights | {"epoch": 3}, "source: expected names and tensors, got 'epoch': int"),
    ],
)
def test_what_does_not_fit_is_named(change: Callable[[Weights], Weights], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        load_few_shot(change(MODELS["Omniglot SRWM"][0]()))
    assert "\n" not in str(caught.value)


def test_input_softmax_is_for_the_srwm() -> None:
    with pytest.raises(ValueError, match="use_input_softmax: expected False for core 'lstm', got True"):
        load_few_shot(MODELS["Omniglot LSTM"][0](), use_input_softmax=True)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint\n", b"PK\x03\x04 a broken archive", bytes(range(256))])
def test_a_file_that_is_no_checkpoint(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"source: expected a PyTorch checkpoint, got .*notes\.pt") as caught:
        load_few_shot(path)
    assert "\n" not in str(caught.value)


def test_a_truncated_checkpoint_and_a_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save(MODELS["Omniglot SRWM"][0](), path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match="source: expected a PyTorch checkpoint"):
        load_few_shot(path)
    with pytest.raises(FileNotFoundError, match="absent"):
        load_few_shot(tmp_path / "absent.pt")


def test_no_code_is_run_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"model_state_dict": {"out_layer.weight": Path("anything")}}, path)
    with pytest.raises(ValueError, match="source: expected a PyTorch checkpoint"):
        load_few_shot(path)


def test_the_model_is_float32_on_the_cpu_under_other_defaults() -> None:
    weights = MODELS["Omniglot LSTM"][0]()
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        with torch.device("meta"):
            model = load_few_shot(weights)
    finally:
        torch.set_default_dtype(before)
    assert {(parameter.dtype, parameter.device.type) for parameter in model.parameters()} == {(torch.float32, "cpu")}
    assert_close(model.out_layer.weight, weights["out_layer.weight"])
