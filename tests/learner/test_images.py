"""The forms that images come in."""

import numpy as np
import pytest
import torch

from srwm import FewShotLearner
from srwm.data.drawings.ink import normalize_ink
from srwm.data.io.decode import read_image
from srwm.fewshot.models.config import ModelConfig
from srwm.fewshot.models.sequence import FewShotModel
from srwm.learner.images import read_images

from .conftest import LABELS, STACK, letter


@pytest.mark.parametrize("preprocess", ["ink", "none"])
def test_every_form_of_the_same_images(drawn, images, preprocess) -> None:
    image = pytest.importorskip("PIL.Image")
    learner = FewShotLearner(drawn, preprocess).fit(images, LABELS)
    expected = learner.predict_proba(images)
    assert len(np.unique(expected[:, 0])) == len(images)
    forms = {
        "channels": images[:, None],
        "rows": images.reshape(6, -1),
        "floats": images / 255,
        "float32": (images / np.float32(255)),
        "tensor": torch.from_numpy(images),
        "bfloat16": torch.from_numpy(images / 255).bfloat16(),
        "list": list(images),
        "list with channels": [part[None] for part in images],
        "list of tensors": list(torch.from_numpy(images)),
        "list of rows": list(images.reshape(6, -1)),
        "lists of numbers": (images / 255).tolist(),
        "tuple": tuple(images),
        "pictures": [image.fromarray(part) for part in images],
        "color pictures": [image.fromarray(part).convert("RGB") for part in images],
        "objects": np.array([image.fromarray(part) for part in images] + [None], dtype=object)[:6],
    }
    for form, given in forms.items():
        np.testing.assert_allclose(learner.predict_proba(given), expected, atol=2e-3, err_msg=form)
    single = [images[2], images[2:3], images[2:3, None], image.fromarray(images[2]), [images[2]], torch.from_numpy(images[2])]
    for given in single:
        np.testing.assert_allclose(learner.predict_proba(given), expected[2:3], atol=2e-3)
        assert len(FewShotLearner(drawn, preprocess).learn(given, "a").predict(given)) == 1
    black = images > 128
    np.testing.assert_allclose(learner.predict_proba(black), learner.predict_proba(black * np.uint8(255)), atol=1e-6)


def test_ink_makes_one_form_of_all_sizes_and_colors(drawn, images) -> None:
    image = pytest.importorskip("PIL.Image")
    letters = [letter(*size, seed) for seed, size in enumerate([(40, 30), (28, 28), (100, 200)])]
    learner = FewShotLearner(drawn).fit(images, LABELS)
    normal = np.stack([normalize_ink(drawing) for drawing in letters])
    expected = (
        FewShotLearner(drawn, "none").fit(np.stack([normalize_ink(part) for part in images]), LABELS).predict_proba(normal)
    )
    dark = [255 - drawing for drawing in letters]
    colors = [np.stack([drawing] * 3, axis=-1) for drawing in letters]
    pictures = [image.fromarray(drawing) for drawing in letters]
    for given in (letters, dark, colors, pictures, [letters[0], torch.from_numpy(dark[1]), pictures[2]]):
        np.testing.assert_allclose(learner.predict_proba(given), expected, atol=1e-5)
    np.testing.assert_allclose(learner.predict_proba(colors[0]), expected[:1], atol=1e-5)
    np.testing.assert_allclose(learner.predict_proba(np.stack([colors[1]] * 2)), expected[[1, 1]], atol=1e-5)
    tensors = [torch.from_numpy(color).permute(2, 0, 1) for color in colors]
    np.testing.assert_allclose(learner.predict_proba(tensors), expected, atol=1e-5)
    np.testing.assert_allclose(learner.predict_proba(torch.stack([tensors[1]] * 2)), expected[[1, 1]], atol=1e-5)
    assert FewShotLearner(drawn, "auto").fit(images, LABELS).predict_proba(letters)[0] == pytest.approx(expected[0], abs=1e-5)


def test_without_ink_images_of_other_sizes_are_resized(drawn, images) -> None:
    learner = FewShotLearner(drawn, "none").fit(images, LABELS)
    large = images.repeat(3, axis=1).repeat(3, axis=2)
    np.testing.assert_allclose(learner.predict_proba(large), learner.predict_proba(images), atol=0.05)
    mixed = learner.predict_proba([images[0], large[1]])
    np.testing.assert_allclose(
        mixed, np.concatenate([learner.predict_proba(images[:1]), learner.predict_proba(large[1:2])]), atol=1e-5
    )


def test_color_models_read_color() -> None:
    image = pytest.importorskip("PIL.Image")
    model = FewShotModel(ModelConfig(image_shape=(3, 32, 32), n_way=3, stem_channels=4, stack=STACK))
    colors = np.random.default_rng(0).integers(0, 256, (4, 3, 32, 32), dtype=np.uint8)
    learner = FewShotLearner(model).fit(colors, [1, 2, 1, 2])
    expected = learner.predict_proba(colors)
    pictures = [image.fromarray(part.transpose(1, 2, 0)) for part in colors]
    for given in (pictures, list(colors), colors.reshape(4, -1)):
        np.testing.assert_allclose(learner.predict_proba(given), expected, atol=1e-6)
    np.testing.assert_allclose(learner.predict_proba(colors[0]), expected[:1], atol=1e-6)
    with pytest.raises(ValueError, match=r"images: expected \(3, H, W\) or \(n, 3, H, W\), got \(4, 32, 32\)"):
        learner.predict(colors[:, 0])
    with pytest.raises(ValueError, match="preprocess: ink makes images"):
        FewShotLearner(model, "ink").fit(colors, [1, 2, 1, 2])


@pytest.mark.parametrize("preprocess", ["ink", "none"])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.full((2, 28, 28), 300), r"got int64"),
        (np.full((2, 28, 28), 1.5), r"1\.5"),
        (np.full((2, 28, 28), -0.5), r"-0\.5"),
        (np.full((2, 28, 28), np.nan), "float64|NaN"),
        (np.zeros((2, 2, 28, 28)), r"got \(2, 2, 28, 28\)"),
        (np.zeros((1, 2, 1, 28, 28)), r"got \(1, 2, 1, 28, 28\)"),
        (np.zeros(3), r"got \(3,\)"),
        (np.zeros((2, 0, 28)), r"pixel"),
        (np.zeros((2, 28, 28), complex), "complex128"),
        ([[1, 2], [3]], "images: "),
        (None, "images: expected an array or a list of images, got NoneType"),
        ({"a": 1}, "images: expected an array or a list of images, got dict"),
        ([None], "images: expected an array or a list of images, got NoneType"),
    ],
)
def test_what_is_no_image_is_reported(drawn, images, preprocess, given, message) -> None:
    learner = FewShotLearner(drawn, preprocess).fit(images, LABELS)
    before = learner.predict_proba(images)
    for call in (lambda: learner.predict(given), lambda: learner.learn(given, ["a", "b"])):
        with pytest.raises(ValueError, match=message):
            call()
    assert np.array_equal(learner.predict_proba(images), before)


@pytest.mark.parametrize("preprocess", ["ink", "none"])
@pytest.mark.parametrize("many", [False, True])
@pytest.mark.filterwarnings("ignore:.*quantized tensor|.*nested tensors")
def test_tensors_without_numbers_of_their_own_are_reported(drawn, images, preprocess, many) -> None:
    learner = FewShotLearner(drawn, preprocess).fit(images, LABELS)
    floats = torch.from_numpy(images).float() / 255
    given = [
        floats.to("meta"),
        floats.to_sparse(),
        torch.nested.nested_tensor(list(floats)),
        torch.quantize_per_tensor(floats, 0.1, 0, torch.quint8),
        floats.to(torch.complex64),
    ]
    for tensor in given:
        with pytest.raises(ValueError, match=r"^images: "):
            learner.predict([tensor[0], tensor[1]] if many and not tensor.is_nested and not tensor.is_sparse else tensor)
    for dtype in (torch.float8_e4m3fn, torch.float8_e5m2):
        few_bits = floats.to(dtype)
        with pytest.raises(ValueError, match=r"^images: expected .* floating numbers of 16 bits or more, got float8_"):
            learner.predict([few_bits[0], few_bits[1]] if many else few_bits)
    np.testing.assert_array_equal(learner.predict_proba(floats.double()), learner.predict_proba(floats))


@pytest.mark.parametrize("preprocess", ["ink", "none"])
def test_deep_pictures_are_scaled(drawn, images, preprocess) -> None:
    image = pytest.importorskip("PIL.Image")
    learner = FewShotLearner(drawn, preprocess).fit(images, LABELS)
    wide = [image.fromarray(part.astype(np.uint16) * 257) for part in images]
    assert wide[0].mode == "I;16"
    forms = {
        "I;16": wide,
        "I": [image.fromarray(part.astype(np.int32) * 257) for part in images],
        "F": [image.fromarray((part / 255).astype(np.float32)) for part in images],
    }
    for mode, pictures in forms.items():
        assert pictures[0].mode == mode
        np.testing.assert_allclose(learner.predict_proba(pictures), learner.predict_proba(images), atol=2e-3, err_msg=mode)


@pytest.mark.parametrize("preprocess", ["ink", "none"])
def test_a_closed_picture_is_reported(drawn, images, preprocess) -> None:
    image = pytest.importorskip("PIL.Image")
    learner, picture = FewShotLearner(drawn, preprocess).fit(images, LABELS), image.fromarray(images[0])
    picture.close()
    for given in (picture, [picture]):
        with pytest.raises(ValueError, match=r"^images?: "):
            learner.predict(given)


@pytest.mark.parametrize("size", [(50, 1), (1, 50), (3, 1), (4, 1)])
def test_pictures_of_one_row_are_read_as_their_arrays(drawn, images, size) -> None:
    image = pytest.importorskip("PIL.Image")
    picture = image.new("L", size, 7)
    picture.putpixel((size[0] // 2, size[1] // 2), 200)
    np.testing.assert_array_equal(normalize_ink(picture), normalize_ink(np.asarray(picture)))
    learner = FewShotLearner(drawn).fit(images, LABELS)
    np.testing.assert_array_equal(learner.predict_proba(picture), learner.predict_proba([np.asarray(picture)]))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(40, 30), (1, 30), (20, 1), (7, 90)])
def test_without_ink_arrays_are_resized_as_files(tmp_path, channels, size) -> None:
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, (*size, channels), dtype=np.uint8)
    image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(tmp_path / "picture.png")
    expected = read_image(str(tmp_path / "picture.png"), (channels, 32, 32)).astype(np.float32) / 255
    model = FewShotModel(ModelConfig(image_shape=(channels, 32, 32), n_way=3, stem_channels=4, stack=STACK))
    array = pixels.transpose(2, 0, 1)
    for given in (array[None], array / np.float32(255), torch.from_numpy(array), [array, array[:, ::-1]]):
        np.testing.assert_array_equal(read_images(given, model.config, "none")[0][0], expected)
    np.testing.assert_allclose(read_images(array.astype(np.uint16) * 257, model.config, "none")[0][0], expected)


def test_integers_of_16_bits_are_scaled_if_they_need_them(drawn, images) -> None:
    learner = FewShotLearner(drawn).fit(images, LABELS)
    expected = learner.predict_proba(images)
    np.testing.assert_allclose(learner.predict_proba(images.astype(np.uint16) * 257), expected, atol=1e-6)
    np.testing.assert_allclose(learner.predict_proba(images.astype(np.uint16)), expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["upright", "rotated by EXIF", "transparent", "palette", "deep"])
@pytest.mark.parametrize("channels", [1, 3])
def test_without_ink_files_are_read_as_in_training(tmp_path, kind, channels) -> None:
    image = pytest.importorskip("PIL.Image")
    generator = np.random.default_rng(0)
    picture, options = image.fromarray(generator.integers(0, 256, (40, 30, 3), dtype=np.uint8)), {}
    if kind == "rotated by EXIF":
        options["exif"] = picture.getexif()
        options["exif"][0x0112] = 6
    elif kind == "transparent":
        picture.putalpha(image.fromarray(generator.integers(0, 256, (40, 30), dtype=np.uint8)))
    elif kind == "palette":
        picture = picture.quantize(16)
        options["transparency"] = 3
    elif kind == "deep":
        picture = image.fromarray(generator.integers(0, 65536, (40, 30), dtype=np.uint16))
    picture.save(tmp_path / "picture.png", **options)
    model = FewShotModel(ModelConfig(image_shape=(channels, 32, 32), n_way=3, stem_channels=4, stack=STACK))
    in_training = read_image(str(tmp_path / "picture.png"), (channels, 32, 32))
    opened = image.open(tmp_path / "picture.png")
    read, columns, _ = read_images([opened], model.config, "none")
    assert columns is None
    np.testing.assert_array_equal(read[0], in_training.astype(np.float32) / 255)


def test_no_images_have_no_labels(trained, drawn, images) -> None:
    learner = FewShotLearner(drawn).fit(images, LABELS)
    for none in (images[:0], images[:0].reshape(0, 784), []):
        assert learner.predict(none).shape == (0,)
        assert learner.predict(none).dtype == learner.classes_.dtype
        assert learner.predict_proba(none).shape == (0, 3)
        with pytest.raises(ValueError, match="images: expected one or more, got none"):
            learner.learn(none, [])
