import unicodedata
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch

from srwm.data.drawings.glyphs import GlyphDrawer, Handwriting, load_glyphs
from srwm.data.drawings.letters import _FACES, _distance, _thinned, load_font_letters, load_letters
from srwm.data.sets.omniglot import vinyals_split

UPRIGHT_SCRIPTS = {"val": {"Hebrew", "Lao", "Lisu", "NKo"}, "test": {"Armenian", "Georgian"}}


@pytest.fixture(scope="module")
def drawer():
    return GlyphDrawer()


def looks(data):
    """A blurred mean picture of every class, of unit length about its mean."""
    images = torch.from_numpy(data.images).float()
    flat = torch.nn.functional.avg_pool2d(images, 3, 2, 1).flatten(1)
    return torch.nn.functional.normalize(flat - flat.mean(1, keepdim=True))


def script(name):
    return name.rsplit(" ", 1)[0]


def test_scripts_and_faces_are_kept_apart(drawer):
    letters = load_letters()
    owners = {split: set(classes[:, 0].tolist()) for split, classes in letters.classes.items()}
    assert not owners["train"] & owners["val"]
    assert not owners["train"] & owners["test"]
    assert not owners["val"] & owners["test"]
    for split, scripts in UPRIGHT_SCRIPTS.items():
        assert {script(letters.names[i]) for i in owners[split]} <= scripts
    assert not {script(letters.names[i]) for i in owners["train"]} & set.union(*UPRIGHT_SCRIPTS.values())
    assert not set(_FACES["test"]) & {*_FACES["train"], *_FACES["val"]}


def test_no_script_of_the_test_is_drawn_by_hand_in_the_training_characters_of_omniglot():
    alphabets = {name.split("/")[1] for name in vinyals_split()["train"]}
    assert not {alphabet for alphabet in alphabets if "Armenian" in alphabet or "Mkhedruli" in alphabet}
    letters = load_letters()
    codes = [ord(letters.names[letter][-1]) for letter in letters.classes["test"][:, 0].tolist()]
    assert "Asomtavruli_(Georgian)" in alphabets
    assert not any("GEORGIAN CAPITAL LETTER" in unicodedata.name(chr(code)) for code in codes)


def test_there_are_many_letters_to_learn_and_enough_to_test():
    classes = load_letters().classes
    assert len(classes["train"]) > 4000
    assert len(classes["val"]) > 50
    assert len(classes["test"]) > 100


def test_no_two_classes_look_the_same(drawer):
    plain = Handwriting(pen=1, thinnest=2, thickest=2, degrees=0, shear=0, stretch=0, waves=0, blur=0)
    pictures = GlyphDrawer(drawer.letters, plain)
    look = looks(pictures.draw("test", 0, 1))
    alike = (look @ look.T).fill_diagonal_(0)
    assert (alike > 0.99).sum() == 0


def test_a_seed_draws_the_same_and_another_seed_others(drawer):
    one, same, other = (drawer.draw("test", seed, 3) for seed in (1, 1, 2))
    assert np.array_equal(one.images, same.images)
    assert (one.images != other.images).reshape(len(one.images), -1).any(1).all()
    assert one.class_names == other.class_names


def test_every_drawing_is_ink_of_the_usual_size_and_differs_from_its_fellows(drawer):
    data = drawer.draw("test", 0, 6)
    assert data.images.shape == (6 * len(data), 1, 28, 28)
    inked = data.images[:, 0] > 100
    longest = np.maximum(inked.any(1).sum(1), inked.any(2).sum(1))
    assert longest.min() >= 20
    assert longest.max() <= 24
    assert all(len(np.unique(data.of_class(c), axis=0)) == 6 for c in range(len(data)))


def test_strokes_go_from_thin_to_black(drawer):
    share = (drawer.draw("test", 0, 10).images > 127).mean((1, 2, 3))
    assert np.quantile(share, 0.05) < 0.13
    assert np.quantile(share, 0.95) > 0.25


def test_instances_of_a_letter_are_more_alike_than_others(drawer):
    data = drawer.draw("test", 0, 2)
    look = looks(data)
    nearest = (look[0::2] @ look[1::2].T).argmax(1)
    assert (nearest == torch.arange(len(data))).double().mean() > 0.2, "chance is under one in a hundred"


def test_printed_letters_are_the_same_each_time_one_a_face(drawer):
    printed = drawer.printed("test")
    assert np.array_equal(printed.images, drawer.printed("test").images)
    assert printed.counts.min() >= 4
    assert printed.counts.max() == len(_FACES["test"])


def test_turned_letters_are_turned():
    drawer = GlyphDrawer()
    printed = drawer.printed("train")
    index = {name: c for c, name in enumerate(printed.class_names)}
    letter = printed.of_class(index["Latin G"])[:, 0].astype(float)
    for turn, mark in enumerate(("", "@90", "@180", "@270")):
        for mirrored, flip in (("", letter), ("@m", letter[:, :, ::-1])):
            name = "Latin G" + (mark if not mirrored else "@m" + mark[1:])
            drawn = printed.of_class(index[name])[:, 0].astype(float)
            assert np.abs(drawn - np.rot90(flip, turn, (1, 2))).mean() < 6, name


def test_distances_are_those_of_geometry():
    ink = torch.zeros(1, 48, 48, dtype=torch.bool)
    ink[0, 20, 24] = ink[0, 40, 3] = True
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(48.0), indexing="ij")
    exact = torch.minimum((y - 20).hypot(x - 24), (y - 40).hypot(x - 3))
    near = exact < 12
    assert torch.allclose(_distance(ink)[0][near], exact[near])
    assert _distance(ink)[0][~near].min() >= 12


def test_a_thick_bar_is_thinned_to_its_middle():
    ink = torch.zeros(1, 48, 48, dtype=torch.bool)
    ink[0, 20:27, 5:43] = True
    thin = _thinned(ink)[0]
    assert thin[:, 12:36].sum(0).eq(1).all()
    assert thin[22:25, 12:36].any(0).all()


def test_loading_draws_all_splits():
    splits = load_glyphs(instances=1)
    assert list(splits) == ["train", "val", "test"]
    assert all((data.counts == 1).all() for data in splits.values())


def test_letters_of_other_fonts_are_a_test_set():
    font = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    bold = font.with_name("DejaVuSans-Bold.ttf")
    letters = load_font_letters([font, bold], {"Ogham": ((0x1681, 0x169A),), "Khmer": ((0x1780, 0x17B3),)})
    assert {script(name) for name in letters.names} == {"Ogham"}
    assert np.diff(letters.offsets).tolist() == [2] * len(letters.names)
    assert {split for split, classes in letters.classes.items() if len(classes)} == {"test"}
    drawn = GlyphDrawer(letters).draw("test", 0, 3)
    assert drawn.counts.tolist() == [3] * len(letters.classes["test"])
    assert drawn.images.max(axis=(1, 2, 3)).min() > 200
    with pytest.raises(ValueError, match=r"some that DejaVuSans\.ttf have, got Khmer"):
        load_font_letters([font], {"Khmer": ((0x1780, 0x17B3),)})
