import hashlib
import threading
import zipfile
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler

import pytest

from srwm.data.io.download import fetch_archive
from srwm.errors import UserError


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def archive(tmp_path):
    """A small archive, the address that serves it, and its checksum."""
    served = tmp_path / "served"
    served.mkdir()
    with zipfile.ZipFile(served / "images.zip", "w") as content:
        content.writestr("images/a/1.png", b"one")
        content.writestr("images/b/2.png", b"two")
    with HTTPServer(("127.0.0.1", 0), partial(Quiet, directory=served)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        checksum = "md5:" + hashlib.md5((served / "images.zip").read_bytes()).hexdigest()
        yield f"http://127.0.0.1:{server.server_port}/images.zip", checksum
        server.shutdown()


def test_an_archive_is_fetched_checked_and_placed(archive, tmp_path):
    fetch_archive(*archive, tmp_path / "here", "images")
    assert (tmp_path / "here" / "images" / "b" / "2.png").read_bytes() == b"two"
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["images"]


def test_another_process_may_have_been_faster(archive, tmp_path):
    (tmp_path / "here" / "images" / "a").mkdir(parents=True)
    fetch_archive(*archive, tmp_path / "here", "images")
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["images"]


def test_a_wrong_checksum_is_refused(archive, tmp_path):
    with pytest.raises(UserError, match="cannot download"):
        fetch_archive(archive[0], "md5:" + "0" * 32, tmp_path / "here", "images")
    assert list((tmp_path / "here").iterdir()) == []


def test_no_network_says_what_to_do(tmp_path):
    with pytest.raises(UserError, match=r"cannot download http://127\.0\.0\.1:1/images\.zip .* fetch it yourself"):
        fetch_archive("http://127.0.0.1:1/images.zip", "md5:" + "0" * 32, tmp_path, "images")
