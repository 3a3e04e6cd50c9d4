"""The server: a cut-out for a photo, limits on everything, no path into its machine or network,
the same memory after many requests."""
import http.client
import io
import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from bg_remover.tool import server as server_module
from bg_remover.tool.server import Limits, make_app
from stand_in import BrightRemover, RedRemover

root = Path(__file__).resolve().parents[2]
photo = (root / "nbs/samples/mini_coco/val2017/000000343937.jpg").read_bytes()


def client(remover=None, limits: Limits | None = None, **options) -> TestClient:
    return TestClient(make_app(remover or BrightRemover(), limits, **options),
                      base_url="http://localhost")


def test_a_photo_becomes_a_cutout():
    answer = client().post("/remove", content=photo)
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/png"
    assert answer.headers["x-found"] == "true"
    assert Image.open(io.BytesIO(answer.content)).mode == "RGBA"


@pytest.mark.parametrize("query, kind, mode",
                         [("format=webp", "webp", "RGBA"), ("mask=true", "png", "L"),
                          ("background=white", "png", "RGB"),
                                               ("format=jpg&background=blur", "jpeg", "RGB"),
                          ("background=%2300c878", "png", "RGB")])
def test_options(query, kind, mode):
    answer = client().post(f"/remove?{query}", content=photo)
    picture = Image.open(io.BytesIO(answer.content))
    modes = ("RGBA", "RGB") if kind == "webp" else (mode,) # of WebP, opaque is without alpha
    assert answer.headers["content-type"] == f"image/{kind}" and picture.mode in modes


class FullMemory(BrightRemover):
    "Fails as a library does that finds no room."
    def __init__(self, error: Exception): self.error = error
    def alpha(self, photo): raise self.error


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("bfc_arena.cc: Failed to allocate "
                                                               "memory for requested buffer")])
def test_too_little_memory_is_a_503_that_says_so(error):
    answer = client(FullMemory(error)).post("/remove", content=photo)
    assert answer.status_code == 503 and "too little memory" in answer.json()["error"]
    with pytest.raises(RuntimeError, match="a fault of ours"):
        client(FullMemory(RuntimeError("a fault of ours"))).post("/remove", content=photo)


@pytest.mark.parametrize("query",
                         ["url=http://127.0.0.1/", "background=/etc/passwd", "background=photo.jpg",
                          "background=http://example.org/a.jpg",
                                   "format=svg", "format=jpg", "mask=true&background=white"])
def test_wrong_options_are_refused_and_nothing_is_fetched_or_opened(query, monkeypatch):
    ask = client()
    def refuse(*_, **__): raise AssertionError("a connection was opened")
    monkeypatch.setattr(socket.socket, "connect", refuse)
    answer = ask.post(f"/remove?{query}", content=photo)
    assert answer.status_code == 400 and answer.json()["error"]


def test_the_shape_is_asked_for_as_in_the_command():
    scene, file, ask = np.zeros((100, 120, 3), np.uint8), io.BytesIO(), client(RedRemover())
    scene[30:70, 40:80, 0] = 255
    Image.fromarray(scene).save(file, "png")
    def picture(query):
        return Image.open(io.BytesIO(ask.post(f"/remove?{query}", content=file.getvalue()).content))
    tight, wide = picture("crop=true&padding=0").size, picture("crop=true&padding=25").size
    assert max(tight) <= 48 and tight[0] + 16 <= wide[0] < 120 and tight[1] + 16 <= wide[1] < 100
    people, background = (np.asarray(picture(f"keep={kept}"))[..., 3].astype(int)
                          for kept in ("people", "background"))
    np.testing.assert_array_equal(people + background, 255)
    sizes = [len(ask.post(f"/remove?format=jpg&background=blur&quality={quality}",
                          content=photo).content) for quality in (30, 95)]
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize("query, why", [
    ("padding=much", "padding cannot be 'much'; give room"),
    ("quality=90", "jpg"),
    ("mask=perhaps", "mask cannot be 'perhaps'; give true"),
    ("feather=nan", "feather"),
    ("keep=dog", "'people' or 'background'"),
    ("crop=true&keep=background", "or with cropping"),
])
def test_options_that_make_no_sense_are_named(query, why):
    answer = client().post(f"/remove?{query}", content=photo)
    assert answer.status_code == 400 and why in answer.json()["error"]


def test_what_is_no_photo():
    for content, status in ((b"", 400), (b"hello", 422), (photo[:5000], 422)):
        answer = client().post("/remove", content=content)
        assert answer.status_code == status and "/" not in answer.json()["error"].replace("JPEG/",
                                                                                          "")


def test_limits_on_bytes_and_pixels():
    ask = client(limits=Limits(megabytes=1, megapixels=1))
    assert ask.post("/remove", content=bytes(1_000_001)).status_code == 413
    file = io.BytesIO()
    Image.new("L", (2000, 1000)).save(file, "PNG")
    assert ask.post("/remove", content=file.getvalue()).status_code == 422
    assert ask.post("/remove", content=photo).status_code == 200


def test_other_hosts_other_sites_and_other_paths():
    ask = client()
    assert ask.get("/health", headers={"host": "evil.example"}).status_code == 400
    evil = ask.post("/remove", content=photo, headers={"origin": "https://evil.example"})
    assert "access-control-allow-origin" not in evil.headers
    for path in ("/../settings.ini", "/docs", "/static/x", "/remove/x", "//etc/passwd"):
        assert ask.get(path).status_code == 404
    assert ask.get("/remove").status_code == 405
    mine = "https://mine.example"
    named = client(origins=(mine,)).post("/remove", content=photo, headers={"origin": mine})
    assert named.headers["access-control-allow-origin"] == mine
    shown = named.headers["access-control-expose-headers"].split(", ")
    assert {"X-Found", "X-Share", "X-Note"} <= set(shown), "what its page may read"


def test_network_threads_and_processor_are_those_asked_for(monkeypatch):
    asked, run = [], []
    monkeypatch.setattr(server_module, "Remover",
                        lambda *given: asked.append(given) or BrightRemover())
    monkeypatch.setattr("uvicorn.run", lambda app, **how: run.append(how["port"]))
    server_module.serve(port=1, model="other.onnx", threads=3, provider="cuda")
    assert asked == [("other.onnx", 3, "cuda")] and run == [1]


def test_health_metrics_description_and_page():
    ask = client()
    ask.post("/remove", content=photo)
    assert ask.get("/health").json()["status"] == "ok"
    assert 'bg_remover_answers_total{status="200"} 1' in ask.get("/metrics").text
    paths = ask.get("/openapi.json").json()["paths"]
    names = {one["name"] for one in paths["/remove"]["post"]["parameters"]}
    assert names == {"format", "mask", "background", "keep", "crop", "padding", "feather",
                     "quality", "keep_metadata"}
    assert "<h1>" in ask.get("/").text and "http" not in re.sub(r"fetch\(.*", "", ask.get("/").text)


class Slow(BrightRemover):
    "Takes its time."
    def alpha(self, pixels):
        time.sleep(0.4)
        return super().alpha(pixels)


def test_beyond_the_queue_clients_are_told_when_to_come_back():
    ask = client(Slow(), Limits(working=1, waiting=1))
    with ask: # one event loop for all
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(ask.post("/remove",
                                                                           content=photo)))
                   for _ in range(6)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        by_status = sorted(answer.status_code for answer in answers)
        assert by_status.count(200) >= 2 and by_status.count(503) >= 1 and len(by_status) == 6
        assert all(answer.headers["retry-after"] for answer in answers if answer.status_code == 503)
        assert ask.get("/health").json()["inside"] == 0


# A server of its own

@pytest.fixture(scope="module")
def server():
    "A real server with the shipped network: its port and its process."
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        port = any_port.getsockname()[1]
    code = ("from bg_remover.tool.server import Limits, serve; "
            f"serve(port={port}, limits=Limits(seconds=3))")
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while socket.socket().connect_ex(("127.0.0.1", port)) and time.monotonic() < deadline:
        if process.poll() is not None: break
        time.sleep(0.1)
    assert process.poll() is None, process.stderr.read().decode()
    yield port, process
    process.terminate()
    assert process.wait(timeout=30) in (0, -15)


def post(port: int, body: bytes) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/remove?format=webp", body)
    status = connection.getresponse().status
    connection.close()
    return status


def megabytes(process) -> float:
    return int(re.search(r"RssAnon:\s+(\d+)",
                         Path(f"/proc/{process.pid}/status").read_text())[1]) / 1e3


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux to see memory")
def test_memory_is_the_same_after_many_requests(server):
    port, process = server
    small = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)).save(small,
                                                                                             "JPEG")
    for _ in range(30): assert post(port, small.getvalue()) == 200
    before = megabytes(process)
    for _ in range(120): post(port, small.getvalue())
    assert megabytes(process) < before + 15


def test_broken_and_slow_clients_do_no_harm(server):
    port, process = server
    for sent in (b"", b"POST /remove HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
                 b"999999\r\n\r\nabc", b"\xff" * 1000, b"GET / HTTP/9.9\r\n\r\n"):
        broken = socket.create_connection(("127.0.0.1", port))
        broken.sendall(sent)
        broken.close()
    slow = socket.create_connection(("127.0.0.1", port))
    slow.sendall(b"POST /remove HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc")
    slow.settimeout(20)
    assert b" 408 " in slow.recv(200).split(b"\r\n")[0] + b" "
    assert post(port, photo) == 200 and process.poll() is None
