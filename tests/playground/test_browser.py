"""The page in a real browser: letters drawn with the mouse are taught and recognized."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from srwm import FewShotLearner, samples

pytest.importorskip("gradio", reason="the extra playground is not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine")]

ELL = [[(-50, -70), (-50, 70), (50, 70)]]
ZIGZAG = [[(-60, -60), (-20, 60), (0, -60), (20, 60), (60, -60), (-60, 0), (60, 20)]]
OH = [[(0, -60), (45, -35), (55, 10), (30, 55), (-20, 60), (-55, 20), (-45, -35), (0, -60)]]
_SECONDS = 120_000


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The page, served as users do."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "srwm", "playground", "--port", str(port), "--no-browser", "--threads", "1"]
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                urlopen(f"http://127.0.0.1:{port}").close()
                break
            except OSError:
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(60) in (0, 130)


@pytest.fixture
def page(address):
    """A fresh visit; afterwards: nothing was asked of any other machine."""
    outside = []
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1100, "height": 960})
        page.set_default_timeout(_SECONDS)
        page.on("request", lambda request: outside.append(request.url) if _is_outside(request.url, address) else None)
        page.goto(address)
        page.wait_for_selector("#pad canvas")
        yield page
        browser.close()
    assert outside == []


def _is_outside(url: str, address: str) -> bool:
    return not url.startswith((address, address.replace("http", "ws"), "data:", "blob:"))


def draw(page, strokes, scale: float = 1.0, shift: int = 0) -> None:
    box = page.locator("#pad canvas").bounding_box()
    x, y = box["x"] + box["width"] / 2 + shift, box["y"] + box["height"] / 2
    for stroke in strokes:
        page.mouse.move(x + scale * stroke[0][0], y + scale * stroke[0][1])
        page.mouse.down()
        for right, down in stroke[1:]:
            page.mouse.move(x + scale * right, y + scale * down, steps=5)
        page.mouse.up()


def teach(page, name: str) -> None:
    page.locator("#name input, #name textarea").fill(name)
    page.locator("#teach").click()
    page.wait_for_function("name => document.querySelector('#status').innerText.includes(`Learned “${name}”`)", arg=name)


def answer(page) -> list[str]:
    """Names and percents as the page shows them, the most probable twice."""
    page.wait_for_function("() => document.querySelector('#answer').innerText.includes('%')")
    return page.locator("#answer").inner_text().split()[1:]


def test_two_letters_are_drawn_taught_asked_saved_and_loaded(page, tmp_path) -> None:
    draw(page, ELL)
    teach(page, "ell")
    draw(page, OH)
    teach(page, "oh")
    assert page.locator("#status").inner_text().endswith("Known: ell, oh.")
    page.wait_for_selector("#written img")
    draw(page, OH, 0.8, 15)
    assert answer(page)[0] == "oh"
    if picture := os.environ.get("SRWM_SCREENSHOT"):
        page.wait_for_timeout(1000)
        page.screenshot(path=picture)
    page.locator("#pad button").click()
    draw(page, ELL, 0.7, -20)
    page.wait_for_function("() => document.querySelector('#answer').innerText.split(/\\s+/)[1] === 'ell'")
    page.locator("#pad button").click()
    draw(page, ZIGZAG)
    page.wait_for_function("() => document.querySelector('#answer').innerText.split(/\\s+/)[1] === 'unknown'")
    with page.expect_download() as started:
        page.locator("#save").click()
    started.value.save_as(tmp_path / "memory.safetensors")
    assert FewShotLearner().load(tmp_path / "memory.safetensors").classes_.tolist() == ["ell", "oh"]
    page.locator("#forget").click()
    page.wait_for_function("() => document.querySelector('#status').innerText.includes('Nothing was learned')")
    page.locator("#load").locator("xpath=..").locator("input[type=file]").set_input_files(tmp_path / "memory.safetensors")
    page.wait_for_function("() => document.querySelector('#status').innerText.includes('Loaded. Known: ell, oh.')")


def test_a_dropped_image_is_taught_and_a_blank_one_is_not(page) -> None:
    page.locator("#teach").click()
    page.wait_for_function("() => document.body.innerText.includes('Write the name of the letter first.')")
    page.locator("#name input, #name textarea").fill("ayb")
    page.locator("#teach").click()
    page.wait_for_function("() => document.body.innerText.includes('No ink was found.')")
    page.locator("#file input[type=file]").set_input_files(samples.EXAMPLES / "ayb" / "1.png")
    page.wait_for_selector("#file img")
    teach(page, "ayb")
    page.locator("#file input[type=file]").set_input_files(samples.QUESTIONS / "ayb" / "1.png")
    assert answer(page)[0] == "ayb"


def test_the_page_has_no_address_on_the_network(address) -> None:
    port = int(re.search(r"\d+$", address)[0])
    table = Path("/proc/net/tcp")
    if not table.exists():
        pytest.skip("no table of sockets on this system")
    listening = [line.split()[1] for line in table.read_text().splitlines()[1:] if line.split()[3] == "0A"]
    assert [place for place in listening if place.endswith(f":{port:04X}")] == [f"0100007F:{port:04X}"]
