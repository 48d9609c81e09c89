"""What the page does, without a browser."""

import base64
import io

import numpy as np
import pytest

from srwm import samples
from srwm.data.io.decode import read_picture
from srwm.errors import UserError
from srwm.learner.image_files import labeled_files
from srwm.playground.pad import SIDE, drawing
from srwm.playground.session import Session

image = pytest.importorskip("PIL.Image")


@pytest.fixture
def session() -> Session:
    return Session.begun("characters")


def test_letters_are_taught_asked_and_forgotten(session) -> None:
    assert session.ask(str(samples.EXAMPLES / "ayb" / "1.png")) is None
    assert session.written() is None
    for file, label in zip(*labeled_files(samples.EXAMPLES), strict=True):
        assert session.teach(file if label == "da" else read_picture(file), f" {label} ") == f"Learned “{label}”."
    assert session.classes() == sorted(path.name for path in samples.EXAMPLES.iterdir())
    for file, label in zip(*labeled_files(samples.QUESTIONS), strict=True):
        answer = session.ask(file)
        assert answer.label == label
        assert answer.probability == max(answer.probabilities.values())
        assert sum(answer.probabilities.values()) + answer.unknown == pytest.approx(1)
    assert session.ask(image.new("L", (50, 50), 255)).label is None
    session.forget()
    assert session.classes() == []
    assert session.ask(str(samples.EXAMPLES / "ayb" / "1.png")) is None


def test_what_cannot_be_taught_is_said_and_nothing_changes(session, tmp_path) -> None:
    file = str(samples.EXAMPLES / "ayb" / "1.png")
    session.teach(file, "a")
    before = session.learner.predict_proba(samples.QUESTIONS)
    for given, name, message in (
        (file, "  ", "Write the name"),
        (None, "b", "No ink was found"),
        (image.new("L", (50, 50), 255), "b", "No ink was found"),
    ):
        with pytest.raises(ValueError, match=message):
            session.teach(given, name)
    (tmp_path / "x.png").write_bytes(b"nothing")
    with pytest.raises(UserError, match="not a readable image"):
        session.teach(str(tmp_path / "x.png"), "b")
    with pytest.raises(UserError):
        session.load(tmp_path / "x.png")
    assert np.array_equal(session.learner.predict_proba(samples.QUESTIONS), before)


def test_a_memory_is_saved_and_loaded(session, tmp_path) -> None:
    session.teach(str(samples.EXAMPLES / "ayb" / "1.png"), "a")
    session.teach(str(samples.EXAMPLES / "ben" / "1.png"), "b")
    session.learner.save(tmp_path / "memory.safetensors")
    other = Session.begun("characters")
    other.load(tmp_path / "memory.safetensors")
    assert other.classes() == ["a", "b"]
    assert other.ask(str(samples.QUESTIONS / "ben" / "1.png")) == session.ask(str(samples.QUESTIONS / "ben" / "1.png"))


def test_the_picture_shows_the_last_example_and_the_whole(session) -> None:
    session.teach(str(samples.EXAMPLES / "ayb" / "1.png"), "a")
    first = session.written()
    assert first.dtype == np.uint8
    assert first.shape[2] == 3
    half = (first.shape[1] - 24) // 2
    assert np.array_equal(first[:, :half], first[:, -half:])  # the first example wrote all that there is
    session.teach(str(samples.EXAMPLES / "ben" / "1.png"), "b")
    second = session.written()
    assert second.shape == first.shape
    assert not np.array_equal(second[:, :half], second[:, -half:])


def url(picture, kind: str = "PNG") -> str:
    file = io.BytesIO()
    picture.save(file, kind)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def test_a_pad_gives_a_picture_or_a_reason() -> None:
    assert drawing("") is None
    assert drawing(None) is None
    picture = image.new("RGBA", (SIDE, SIDE), "white")
    picture.putpixel((3, 4), (0, 0, 0, 255))
    assert np.argwhere(np.asarray(drawing(url(picture))) == 0).tolist() == [[4, 3]]
    for wrong in ("x", "data:image/png;base64,???", url(picture)[:200], url(picture.convert("RGB"), "JPEG")):
        with pytest.raises(ValueError, match="drawing: expected a PNG"):
            drawing(wrong)
    with pytest.raises(ValueError, match="drawing: expected a PNG of at most 320 pixels"):
        drawing(url(image.new("L", (SIDE + 1, 5))))
