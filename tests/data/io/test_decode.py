import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srwm.data.io.decode import MAX_PIXELS, ImageError, all_gray, picture_to_array, read_image, read_images
from srwm.errors import UserError

RGB, GRAY = (3, 84, 84), (1, 28, 28)


def save(path: Path, image: Image.Image, **options) -> str:
    image.save(path, **options)
    return str(path)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
@pytest.mark.parametrize("shape", [RGB, GRAY])
def test_every_mode_and_size_becomes_one_shape(tmp_path, mode, shape):
    gray = Image.new("L", (50, 120), 255)
    suffix = "jpg" if mode in ("CMYK", "YCbCr") else "png"
    array = read_image(save(tmp_path / f"a.{suffix}", gray.convert("RGB").convert(mode)), shape)
    assert array.shape == shape
    assert array.dtype == np.uint8
    assert array.min() >= 250


def test_colors_and_places_are_kept(tmp_path):
    pixels = np.zeros((84, 84, 3), np.uint8)
    pixels[10:20, 30:60] = (10, 200, 90)
    assert np.array_equal(read_image(save(tmp_path / "a.png", Image.fromarray(pixels)), RGB), pixels.transpose(2, 0, 1))


def test_what_is_transparent_is_white(tmp_path):
    image = Image.new("RGBA", (84, 84), (0, 0, 0, 0))
    image.paste((255, 0, 0, 255), (0, 0, 10, 84))
    array = read_image(save(tmp_path / "a.png", image), RGB)
    assert array[:, 0, 0].tolist() == [255, 0, 0]
    assert array[:, 0, 50].tolist() == [255, 255, 255]
    palette = Image.new("P", (84, 84), 0)
    assert read_image(save(tmp_path / "b.gif", palette, transparency=0), RGB).min() == 255


def test_a_photo_is_turned_as_its_tag_says(tmp_path):
    pixels = np.zeros((84, 84), np.uint8)
    pixels[:42] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    array = read_image(save(tmp_path / "a.png", Image.fromarray(pixels), exif=exif), (1, 84, 84))
    assert np.array_equal(array[0], np.rot90(pixels, -1))


def test_blocks_are_in_order_whatever_their_number(tmp_path, monkeypatch):
    monkeypatch.setattr("srwm.data.io.decode._AT_ONCE", 3)
    paths = [save(tmp_path / f"{i}.png", Image.new("L", (28, 28), i)) for i in range(10)]
    blocks = list(read_images(paths, GRAY, "decoding"))
    assert [len(block) for block in blocks] == [3, 3, 3, 1]
    assert np.concatenate(blocks)[:, 0, 0, 0].tolist() == list(range(10))


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, pixels: bytes, *more: bytes) -> bytes:
    """A grayscale PNG of one byte a pixel, whatever its pixels really are."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [chunk(b"IHDR", header), *more, chunk(b"IDAT", zlib.compress(pixels)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def jpeg(width: int, height: int) -> bytes:
    """A JPEG whose header tells another size than its pixels have."""
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "JPEG")
    content = buffer.getvalue()
    start = content.index(b"\xff\xc0") + 5
    return content[:start] + struct.pack(">HH", height, width) + content[start + 4 :]


BOMBS = {
    "png, a little too large": png(8193, 8192, b""),
    "png, warned of by pillow": png(10_000, 10_000, b""),
    "png, an error of pillow": png(30_000, 30_000, b""),
    "png, as large as a header can say": png(2**31 - 1, 2**31 - 1, b""),
    "jpeg, a little too large": jpeg(8193, 8192),
    "jpeg, as large as a header can say": jpeg(65_500, 65_500),
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("action", ["error", "ignore"])
def test_a_bomb_is_refused_before_it_is_decoded(tmp_path, monkeypatch, name, action):
    path = tmp_path / f"bomb.{name[:3]}"
    path.write_bytes(BOMBS[name])
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", None)
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        for read in (lambda: read_image(str(path), RGB), lambda: all_gray([str(path)])):
            with pytest.raises(UserError, match=rf"bomb\.{name[:3]}: refused, .*more than {MAX_PIXELS} pixels"):
                read()


def test_a_bomb_in_the_text_of_a_png_is_refused(tmp_path):
    text = chunk(b"zTXt", b"note\0\0" + zlib.compress(b"\0" * 2**24))
    (tmp_path / "bomb.png").write_bytes(png(4, 4, bytes(20), *[text] * 8))
    with pytest.raises(UserError, match=r"bomb\.png: not a readable image"):
        read_image(str(tmp_path / "bomb.png"), GRAY)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        png(64, 64, b"")[:40],
        png(64, 64, b"too few pixels"),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"GIF89a" + b"\xff" * 20,
        b"BM" + bytes(60),
        b"II*\0\x08\0\0\0" + bytes(12),
        b"RIFF\x10\0\0\0WEBPVP8 " + bytes(20),
    ],
)
def test_damage_is_reported(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.png: (not a readable image|refused)"):
        read_image(str(tmp_path / "a.png"), RGB)


DEEP = np.linspace(0, 65535, 28 * 28).reshape(28, 28)
EXPECTED = np.rint(np.rint(DEEP) / 257).astype(np.uint8)


@pytest.mark.parametrize(
    ("pixels", "mode"),
    [
        (np.rint(DEEP).astype("<u2"), "I;16"),
        (np.rint(DEEP).astype(">u2"), "I;16B"),
        (np.rint(DEEP).astype(np.int32), "I"),
        (np.rint(DEEP).astype(np.float32), "F"),
        (np.rint(DEEP / 257).astype(np.int32), "I"),
        (np.rint(DEEP / 257).astype(np.float32), "F"),
        ((DEEP / 65535).astype(np.float32), "F"),
    ],
)
def test_deep_gray_is_scaled(tmp_path, pixels, mode):
    image = Image.fromarray(pixels)
    assert image.mode == mode
    assert np.array_equal(picture_to_array(image, GRAY)[0], EXPECTED)
    path = save(tmp_path / "deep.tif", image)
    assert np.array_equal(read_image(path, GRAY)[0], EXPECTED)
    assert all_gray([path])


def test_deep_gray_is_turned_and_put_on_white(tmp_path):
    pixels = np.zeros((28, 28), np.uint16)
    pixels[:14] = 65535
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / "a.png", Image.fromarray(pixels), exif=exif)
    assert np.array_equal(read_image(path, GRAY)[0], np.rot90(pixels // 257, -1))
    pixels[14:] = 777
    pixels[20:] = 0
    image = Image.fromarray(pixels)
    image.info["transparency"] = 777
    assert picture_to_array(image, GRAY)[0, :, 0].tolist() == [255] * 20 + [0] * 8


@pytest.mark.parametrize("value", [-1.0, 65536.0, float("nan"), float("inf")])
def test_deep_gray_out_of_range_is_refused(tmp_path, value):
    pixels = np.full((9, 9), 0.5, np.float32)
    pixels[0, 0] = value
    with pytest.raises(ImageError, match=r"F pixels from .* convert the image to 8 bits a channel"):
        picture_to_array(Image.fromarray(pixels), GRAY)
    with pytest.raises(UserError, match=r"deep\.tif: F pixels from "):
        read_image(save(tmp_path / "deep.tif", Image.fromarray(pixels)), GRAY)


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "I", "F"]
)
@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (30, 40)])
def test_an_image_in_memory_is_read_as_its_file(tmp_path, mode, size):
    gray = Image.linear_gradient("L").resize(size)
    image = gray.convert("LA").convert(mode) if mode in ("La", "PA") else gray.convert("RGBA").convert(mode)
    expected = picture_to_array(image, RGB)
    assert expected.shape == RGB
    if mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        assert np.array_equal(read_image(save(tmp_path / "a.png", image), RGB), expected)


def test_a_palette_of_grays_is_gray():
    gray = Image.linear_gradient("L").resize((28, 28))
    palette = gray.copy()
    palette.putpalette([value for value in range(256) for _ in range(3)])
    assert palette.mode == "P"
    assert np.array_equal(picture_to_array(palette, GRAY)[0], np.asarray(gray))


def test_a_file_whose_palette_is_gray_is_gray(tmp_path):
    gray = Image.linear_gradient("L")
    assert all_gray([save(tmp_path / f"a.{suffix}", gray.convert("P")) for suffix in ("png", "gif", "bmp")])
    color = gray.convert("P")
    color.putpalette([value for level in range(256) for value in (level, level, 255 - level)])
    assert not all_gray([save(tmp_path / "b.png", color)])


def test_deep_gray_of_8_bits_is_not_black():
    pixels = np.arange(28 * 28, dtype=np.uint16).reshape(28, 28) % 256
    assert np.array_equal(picture_to_array(Image.fromarray(pixels), GRAY)[0], pixels)


def test_what_is_no_image_is_reported(tmp_path):
    image = Image.open(save(tmp_path / "a.png", Image.new("L", (9, 9))))
    image.close()
    with pytest.raises(ImageError, match="not a readable image"):
        picture_to_array(image, GRAY)
    with pytest.raises(ValueError, match=r"image_shape: expected \(1 or 3, H, W\), got \(2, 9, 9\)"):
        picture_to_array(Image.new("L", (9, 9)), (2, 9, 9))


def test_a_thin_bomb_is_refused(tmp_path):
    (tmp_path / "bomb.png").write_bytes(png(1, 2**26, b""))
    with pytest.raises(UserError, match=r"bomb\.png: refused, 1 x 67108864: expected 1 to 65536 pixels a side"):
        read_image(str(tmp_path / "bomb.png"), GRAY)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UserError, match=r"pipe\.png: not a readable image \(not a regular file\)"):
        read_image(str(tmp_path / "pipe.png"), GRAY)


def test_gray_is_distinguished_from_color_by_the_header(tmp_path):
    gray = [save(tmp_path / f"{mode}.png", Image.new(mode, (9, 9))) for mode in ("1", "L", "LA")]
    assert all_gray(gray)
    assert not all_gray([*gray, save(tmp_path / "c.png", Image.new("RGB", (9, 9)))])
