"""Bad connections, bad archives, and photos that do not come."""
import hashlib
import io
import json
import shutil
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from bg_remover.data_prep import open_coco, person_ids, prepare_pairs
from bg_remover.tool import download
from bg_remover.tool.download import CocoZip, DownloadError, download_coco, extract_zip, fetch

samples = Path(__file__).parents[2] / "nbs/samples/mini_coco"
payload = np.random.default_rng(0).integers(0, 256, 1 << 20, np.uint8).tobytes()


class Server(ThreadingHTTPServer):
    "Serves `files`, as badly as `faults` say; remembers the requests."
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.faults, self.requests = {"/file": payload}, [], []
        self.ignores_range = self.hides_length = False
        self.address = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address): pass # broken pipes are part of the game


class Handler(BaseHTTPRequestHandler):
    "One fault of the server's list for each request, then all goes well."
    def log_message(self, *args): pass

    def do_GET(self):
        server, wanted = self.server, self.headers.get("Range")
        server.requests.append((self.path, wanted))
        fault = server.faults.pop(0) if server.faults else None
        if isinstance(fault, int): return self.send_error(fault)
        if self.path.startswith("/moved"): return self.redirect(self.path.removeprefix("/moved"))
        if self.path == "/loop": return self.redirect("/loop")
        if self.path not in server.files: return self.send_error(404)
        data = server.files[self.path]
        partly = wanted and not server.ignores_range
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if partly else 0
        if start >= len(data): return self.answer(416, {"Content-Range": f"bytes */{len(data)}"})
        headers = {} if server.hides_length else {"Content-Length": str(len(data) - start)}
        if partly:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self.answer(206 if "Content-Range" in headers else 200, headers)
        sent = data[start:]
        self.wfile.write(sent[:len(sent) // 2] if fault == "drop" else b""
                         if fault == "drop at once" else sent)
        self.close_connection = True

    def answer(self, status, headers):
        self.send_response(status)
        for name, value in headers.items(): self.send_header(name, value)
        self.end_headers()

    def redirect(self, where): self.answer(302, {"Location": where, "Content-Length": "0"})


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "retry_seconds", 0.001)
    running = Server()
    Thread(target=running.serve_forever, kwargs=dict(poll_interval=0.01), daemon=True).start()
    yield running
    running.shutdown()
    running.server_close()


# --- downloads

def test_dropped_connections_are_resumed_where_they_broke(server, tmp_path):
    server.faults = ["drop"] * 4 # more than `tries`, but each brings something new
    fetch(f"{server.address}/file", tmp_path / "file", tries=3)
    assert (tmp_path / "file").read_bytes() == payload
    starts = [int(wanted[6:-1]) if wanted else 0 for _, wanted in server.requests]
    # each request goes on behind the one before
    assert len(starts) == 5 and starts == sorted(set(starts))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_later_call_goes_on_with_what_an_earlier_one_left(server, tmp_path):
    server.faults = ["drop"] + ["drop at once"] * 3
    with pytest.raises(DownloadError, match="no new data in 2 tries.*try again"):
        fetch(f"{server.address}/file", tmp_path / "file", tries=2)
    assert not (tmp_path / "file").exists()
    server.faults.clear()
    fetch(f"{server.address}/file", tmp_path / "file")
    assert server.requests[-1][1] == f"bytes={len(payload) // 2}-"
    assert (tmp_path / "file").read_bytes() == payload


def test_a_server_that_ignores_range_sends_everything_again(server, tmp_path):
    server.ignores_range, server.faults = True, ["drop"]
    fetch(f"{server.address}/file", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == payload


def test_a_cut_that_no_header_betrays_is_seen_by_the_known_size(server, tmp_path):
    server.hides_length, server.faults = True, ["drop"]
    fetch(f"{server.address}/file", tmp_path / "file", size=len(payload))
    assert (tmp_path / "file").read_bytes() == payload


def test_redirects_are_followed_and_resumed(server, tmp_path):
    server.faults = [None, "drop"] # the redirect, then the file
    fetch(f"{server.address}/moved/file", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == payload
    assert server.requests[-1] == ("/file", f"bytes={len(payload) // 2}-")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(server, tmp_path, status):
    server.faults = [status, status]
    fetch(f"{server.address}/file", tmp_path / "file")
    assert len(server.requests) == 3


@pytest.mark.parametrize("path, message", [("/nothing", "404"), ("/loop", "redirect")])
def test_a_wrong_address_fails_at_once_and_is_named(server, tmp_path, path, message):
    with pytest.raises(DownloadError, match=f"{path}.*{message}.*check the address"):
        fetch(server.address + path, tmp_path / "file")
    assert not (tmp_path / "file").exists()
    assert path == "/loop" or len(server.requests) == 1


def test_no_server_at_all(server, tmp_path):
    address = server.address
    server.shutdown(), server.server_close()
    with pytest.raises(DownloadError, match="no new data in 5 tries"):
        fetch(f"{address}/file", tmp_path / "file")


@pytest.mark.parametrize("extra, message",
                         [(b"", "SHA-1"),
                          (b"x", f"got {len(payload) + 1} bytes, expected {len(payload)}")])
def test_wrong_content_is_not_kept_and_the_next_call_starts_anew(server, tmp_path, extra, message):
    good = hashlib.sha1(payload).hexdigest()
    server.files["/file"] = payload[:-1] + b"?" + extra
    with pytest.raises(DownloadError, match=message):
        fetch(f"{server.address}/file", tmp_path / "file", len(payload), good)
    assert not list(tmp_path.iterdir())
    server.files["/file"] = payload
    fetch(f"{server.address}/file", tmp_path / "file", len(payload), good)
    assert (tmp_path / "file").read_bytes() == payload


@pytest.mark.parametrize("size", [None, len(payload)])
@pytest.mark.parametrize("have", [len(payload), len(payload) + 10])
def test_a_part_that_is_whole_or_too_long(server, tmp_path, size, have):
    (tmp_path / "file.part").write_bytes((payload + b"0123456789")[:have])
    fetch(f"{server.address}/file", tmp_path / "file", size, hashlib.sha1(payload).hexdigest())
    assert (tmp_path / "file").read_bytes() == payload


def test_a_file_that_is_there_is_not_asked_for(server, tmp_path):
    (tmp_path / "file").write_bytes(b"mine")
    fetch(f"{server.address}/file", tmp_path / "file")
    assert not server.requests and (tmp_path / "file").read_bytes() == b"mine"


# --- archives

def make_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items(): archive.writestr(name, content)
    return path


outside = ["../evil", "a/../../evil", "/tmp/evil", "C:/evil", "C:evil", "..\\evil",
           "\\\\host\\share\\evil"]


@pytest.mark.parametrize("name", outside)
def test_an_archive_with_a_member_outside_is_refused_before_anything_is_written(tmp_path, name):
    hostile = make_zip(tmp_path / "hostile.zip", {"good.txt": b"good", name: b"evil"})
    with pytest.raises(DownloadError, match="hostile.zip.*outside"):
        extract_zip(hostile, tmp_path / "a/b")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [hostile]


def test_unpacking_goes_on_after_an_interruption(tmp_path):
    archive = make_zip(tmp_path / "some.zip",
                       {f"folder/{index}.txt": b"text %d" % index for index in range(4)})
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/0.txt").write_bytes(b"TEXT 0") # whole: left alone
    (tmp_path / "folder/1.txt").write_bytes(b"te") # cut short: made again
    extract_zip(archive, tmp_path)
    assert [(tmp_path / f"folder/{index}.txt").read_bytes() for index in range(4)] == [b"TEXT 0",
                                                                                       b"text 1",
                                                                                       b"text 2",
                                                                                       b"text 3"]


def test_a_damaged_member_or_archive_is_named(tmp_path):
    archive = make_zip(tmp_path / "some.zip", {"a.txt": b"unmistakable content"})
    archive.write_bytes(archive.read_bytes().replace(b"unmistakable", b"unmistakeable"[:12]))
    with pytest.raises(DownloadError, match="some.zip: damaged.*CRC"):
        extract_zip(archive, tmp_path)
    assert not (tmp_path / "a.txt").exists()
    archive.write_bytes(b"not a zip")
    with pytest.raises(DownloadError, match="some.zip: damaged"): extract_zip(archive, tmp_path)


# --- COCO from a server

def serve_coco(server, monkeypatch):
    "The val samples as if they were all of COCO: two archives, and single photos."
    content = json.loads((samples / "annotations/instances_val2017.json").read_text())
    for record in content["images"]:
        photo = f"val2017/{record['file_name']}"
        record["coco_url"] = f"{server.address}/{photo}"
        server.files[f"/{photo}"] = (samples / photo).read_bytes()
    zips = {"val": ("val2017",
                    {f"val2017/{path.name}": path.read_bytes()
                     for path in sorted((samples / "val2017").iterdir())}),
            "annotations": ("annotations",
                            {"annotations/instances_val2017.json": json.dumps(content).encode()})}
    for name, (folder, members) in zips.items():
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            for member, data in members.items(): archive.writestr(member, data)
        data = server.files[f"/zips/{folder}.zip"] = stream.getvalue()
        monkeypatch.setitem(download.coco_zips, name,
                            CocoZip(f"zips/{folder}.zip", folder, len(data),
                                    hashlib.sha1(data).hexdigest()))


def test_whole_archives_come_over_a_bad_line_and_are_not_fetched_twice(server, tmp_path,
                                                                       monkeypatch):
    serve_coco(server, monkeypatch)
    server.faults = ["drop", 503, "drop"]
    for split in ("annotations", "val"):
        download_coco(tmp_path, split, server=server.address, keep_zip=split == "annotations")
    assert (tmp_path / "annotations.zip").exists() and not (tmp_path / "val2017.zip").exists()
    for path in (samples / "val2017").iterdir():
        assert (tmp_path / "val2017" / path.name).read_bytes() == path.read_bytes()
    asked = len(server.requests)
    download_coco(tmp_path, "val", server=server.address)
    assert len(server.requests) == asked


def test_limit_fetches_the_first_photos_with_people_and_prepare_takes_the_same(server, tmp_path,
                                                                               monkeypatch):
    serve_coco(server, monkeypatch)
    download_coco(tmp_path / "coco", "val", limit=3, server=server.address)
    expected = person_ids(open_coco(samples, "val"), 3)
    assert sorted(int(path.stem) for path in (tmp_path / "coco/val2017").iterdir()) == expected
    prepare_pairs(tmp_path / "coco", "val", tmp_path / "pairs", limit=3)
    assert sorted(int(path.stem) for path in (tmp_path / "pairs/masks").iterdir()) == expected


def test_photos_that_do_not_come_are_counted_and_fetched_next_time(server, tmp_path, monkeypatch):
    serve_coco(server, monkeypatch)
    names = [f"{image_id:012}.jpg" for image_id in person_ids(open_coco(samples, "val"), 3)]
    gone, cut = server.files.pop(f"/val2017/{names[0]}"), server.files[f"/val2017/{names[1]}"]
    server.files[f"/val2017/{names[1]}"] = cut[:5000] # a length that fits, a photo that does not
    with pytest.warns(UserWarning, match=f"(?s)2 left out.*{names[0]}.*{names[1]}"):
        download_coco(tmp_path, "val", 3, server.address)
    assert [path.name for path in (tmp_path / "val2017").iterdir()] == names[2:]
    server.files |= {f"/val2017/{names[0]}": gone, f"/val2017/{names[1]}": cut}
    download_coco(tmp_path, "val", 3, server.address)
    assert sorted(path.name for path in (tmp_path / "val2017").iterdir()) == names


@pytest.mark.parametrize("name", outside)
def test_a_photo_that_would_land_outside_is_not_even_asked_for(server, tmp_path, name):
    record = dict(id=7, file_name=name, coco_url=f"{server.address}/file")
    assert "image 7" in (problem := download.fetch_photo(record, tmp_path / "a/b"))
    assert "outside" in problem and not server.requests and not list(tmp_path.rglob("*"))


def test_a_photo_without_an_address_is_named(tmp_path):
    problem = download.fetch_photo(dict(id=7, file_name="a.jpg"), tmp_path)
    assert "image 7: no coco_url" in problem and not list(tmp_path.iterdir())


def test_download_refuses_what_cannot_work(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="must be one of train, val, test, annotations"):
        download_coco(tmp_path, "validation")
    with pytest.raises(ValueError, match="must be 'train' or 'val', not 'test': only"):
        download_coco(tmp_path, "test", limit=5)
    monkeypatch.setitem(download.coco_zips, "val", CocoZip("x.zip", "x", 10**18, None))
    with pytest.raises(DownloadError, match="GB free, 2000000000.0 GB needed"):
        download_coco(tmp_path, "val")


@pytest.mark.parametrize("free, fits", [(150, True), (50, False)])
def test_what_is_there_counts_when_space_is_checked(tmp_path, monkeypatch, free, fits):
    archive = CocoZip("zips/some.zip", "some", 100, None)
    (tmp_path / "some.zip.part").write_bytes(bytes(80)) # 120 bytes to go
    monkeypatch.setattr(shutil, "disk_usage",
                        lambda path: shutil._ntuple_diskusage(1000, 1000 - free, free))
    if fits: return download.check_space(archive, tmp_path / "some.zip")
    with pytest.raises(DownloadError, match="free"):
        download.check_space(archive, tmp_path / "some.zip")
