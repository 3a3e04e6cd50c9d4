"""The command as users meet it: files, folders and pipes, messages and exit statuses,
interruption, and a network of one's own."""
import errno
import hashlib
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from bg_remover import __version__, removal
from bg_remover.base import storage
from bg_remover.tool.cli import app, main
from bg_remover.base.files import by_photo
from bg_remover.base.masks import read_any_mask
from bg_remover.images import read_image, write_image, write_mask
from bg_remover.tool.photos import cut_photo
from bg_remover.removal import Remover
from bg_remover.base.network import known_networks, open_model, shipped_model
from pair_files import make_own_photos
from stand_in import write_known_network

root = Path(__file__).resolve().parents[2]
samples = root / "nbs/samples/mini_coco/val2017"
person, nobody = samples / "000000343937.jpg", samples / "000000041888.jpg"
start = "import sys; from bg_remover.tool.cli import main; sys.argv[0] = 'bg-remover'; main()"


def command(*arguments, folder: Path = root, **how) -> subprocess.CompletedProcess:
    "The command in a process of its own."
    environment = {**os.environ, "PYTHONPATH": str(root),
                   "PYTHONUTF8": "1"} | how.pop("environment", {})
    return subprocess.run([sys.executable, "-c", how.pop("start", start), *map(str, arguments)],
                          cwd=folder, env=environment, capture_output=True, **how)


@pytest.fixture
def call(capfdbinary, monkeypatch, tmp_path):
    "The command in this process, which is quicker."
    def run(*arguments) -> subprocess.CompletedProcess:
        monkeypatch.setattr(sys, "argv", ["bg-remover", *map(str, arguments)])
        monkeypatch.chdir(tmp_path)
        with pytest.raises(SystemExit) as ended: main()
        return subprocess.CompletedProcess(arguments, ended.value.code, *capfdbinary.readouterr())
    return run


def refused(done: subprocess.CompletedProcess, status: int) -> str:
    "The one line of a command that did not do what was asked."
    message = done.stderr.decode()
    assert done.returncode == status, message
    assert message.startswith("bg-remover: ") and message.count("\n") == 1
    assert "Traceback" not in message and done.stdout == b""
    return message


def test_a_network_that_finds_nobody_is_not_what_these_tests_run_on():
    assert Remover().mask(person).any()


# --- one photo

def test_notebook_module_command_and_pipe_give_the_same_bytes(tmp_path):
    expected = cut_photo(person, Remover()).data
    assert command("remove", person, tmp_path / "cutout.png").returncode == 0
    assert command("remove", samples, tmp_path / "all", "--workers", 2, timeout=300).returncode == 0
    piped = command("remove", "-", "-", input=person.read_bytes())
    from_file = command("remove", person, "-")
    to_file = command("remove", "-", tmp_path / "piped.png", input=person.read_bytes())
    assert to_file.returncode == 0 and to_file.stdout == b""
    assert expected == piped.stdout == from_file.stdout
    for name in ("cutout.png", "piped.png", f"all/{person.name}.png"):
        assert (tmp_path / name).read_bytes() == expected


@pytest.mark.parametrize("options, name, how", [
    (["--mask"], "mask.png", dict(mask=True)),
    (["--background", "teal"], "colour.jpg", dict(format="jpg", background=(0, 128, 128))),
    (["-b", "#0c8"], "colour.webp", dict(format="webp", background=(0, 204, 136))),
    (["--background", "blur"], "blur.png", dict(background="blur")),
    (["--background", str(nobody)], "photo.jpg", dict(format="jpg", background=nobody)),
    (["--keep-metadata"], "notes.png", dict(keep_metadata=True))])
def test_options_reach_the_photo(tmp_path, options, name, how):
    done = CliRunner().invoke(app, ["remove", str(person), str(tmp_path / name), *options])
    assert done.exit_code == 0, done.output
    assert (tmp_path / name).read_bytes() == cut_photo(person, Remover(), **how).data


def test_what_is_finished_stays_unless_told(tmp_path):
    done = CliRunner().invoke(app, ["remove", str(person), str(tmp_path / "one.png")])
    before = (tmp_path / "one.png").stat().st_mtime_ns
    again = command("remove", person, tmp_path / "one.png")
    assert done.exit_code == again.returncode == 0 and b"--overwrite" in again.stderr
    assert (tmp_path / "one.png").stat().st_mtime_ns == before
    assert command("remove", person, tmp_path / "one.png", "--overwrite").returncode == 0
    assert (tmp_path / "one.png").stat().st_mtime_ns > before
    assert "--overwrite" in refused(command("remove", "-", tmp_path / "one.png", input=b"any"), 1)


def test_a_file_goes_into_a_folder_under_its_own_name(tmp_path):
    for dest in (str(tmp_path), f"{tmp_path}/new/"):
        assert CliRunner().invoke(app, ["remove", str(person), dest]).exit_code == 0
        assert (Path(dest) / f"{person.name}.png").exists()


def test_several_photos_go_into_a_folder(tmp_path, call):
    other = samples / "000000547336.jpg"
    assert call("remove", person, other, "out/").returncode == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"{person.name}.png",
                                                                    f"{other.name}.png"}
    again = call("remove", person, other, "out")
    assert again.returncode == 0 and b"2 already done" in again.stderr
    assert "need a folder" in refused(call("remove", person, other, "one.png"), 2)
    (tmp_path / "twin").mkdir()
    shutil.copy(other, tmp_path / "twin" / person.name)
    assert "the result of both" in refused(call("remove", person, f"twin/{person.name}", "out/"), 2)
    assert "combined with other photos" in refused(call("remove", person, samples, "out/"), 2)
    (tmp_path / "bad.jpg").write_bytes(b"no photo")
    mixed = call("remove", "bad.jpg", person, "mixed/")
    assert mixed.returncode == 1 and b"1 done, 1 failed" in mixed.stderr


def test_a_file_may_be_named_by_its_address(tmp_path, call):
    assert call("remove", person.as_uri(), (tmp_path / "a.png").as_uri(), "--background",
                person.as_uri()).returncode == 0
    assert (tmp_path / "a.png").read_bytes() == cut_photo(person, Remover(), background=person).data


@pytest.mark.parametrize("content", [b"my notes", nobody.read_bytes(), b""],
                         ids=["text", "a JPEG", "empty"])
@pytest.mark.parametrize("source", ["file", "pipe"])
def test_nothing_is_replaced_unasked(tmp_path, content, source):
    (tmp_path / "there.png").write_bytes(content)
    done = command("remove", person if source == "file" else "-", tmp_path / "there.png",
                   input=person.read_bytes())
    assert "already exists; use --overwrite to replace it" in refused(done, 1)
    assert (tmp_path / "there.png").read_bytes() == content


def test_what_is_no_photo_is_named_and_changes_the_status(tmp_path, call):
    (tmp_path / "photos").mkdir()
    shutil.copy(person, tmp_path / "photos/saved by a browser.jfif")
    (tmp_path / "photos/film.mp4").write_bytes(b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41")
    (tmp_path / "photos/list.txt").write_text("no photo, and not called one")
    done = call("remove", "photos", "out")
    assert done.returncode == 1 and b"film.mp4: a film" in done.stderr
    assert b"1 done, 1 failed" in done.stderr


def test_nobody_makes_no_file_but_a_pipe_flows(tmp_path):
    write_image(tmp_path / "wall.png", np.full((64, 64, 3), 127, np.uint8))
    done = command("remove", tmp_path / "wall.png", tmp_path / "out.png")
    if Remover().mask(tmp_path / "wall.png").any():
        pytest.skip("this network sees somebody on a grey wall")
    assert done.returncode == 0 and b"nobody" in done.stderr and not (tmp_path / "out.png").exists()
    piped = command("remove", tmp_path / "wall.png", "-")
    assert piped.returncode == 0 and b"nobody" in piped.stderr
    assert piped.stdout.startswith(b"\x89PNG")


# --- a folder

@pytest.fixture(scope="module")
def holiday(tmp_path_factory) -> Path:
    "Two photos in two folders, and a file that is none."
    folder = tmp_path_factory.mktemp("photos") / "holiday"
    (folder / "beach").mkdir(parents=True)
    shutil.copy(person, folder / "beach/one.jpg")
    shutil.copy(person, folder / "two.jpg")
    (folder / "broken.jpg").write_bytes(b"no photo")
    return folder


def test_a_folder_is_mirrored_told_of_and_gone_on_with(tmp_path, holiday):
    done = command("remove", holiday, tmp_path / "out", "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1 and {line["path"]: line["verdict"] for line in lines} == {
        str(holiday / "beach/one.jpg"): "done", str(holiday / "two.jpg"): "done",
        str(holiday / "broken.jpg"): "failed"}
    assert all({"path", "verdict", "share", "milliseconds", "error"} <= set(line) for line in lines)
    assert all((line["verdict"] == "done") == (line["share"] > 0)
               and bool(line["error"]) == (line["verdict"] == "failed") for line in lines)
    assert sorted(path.relative_to(tmp_path / "out").as_posix()
                  for path in (tmp_path / "out").rglob("*.png")) == ["beach/one.jpg.png",
                                                                     "two.jpg.png"]
    again = command("remove", holiday, tmp_path / "out")
    assert again.returncode == 1 and again.stdout == b""
    assert b"2 already done, 1 failed" in again.stderr


def test_messages_name_options_as_a_shell_has_them(tmp_path, holiday, call):
    call("remove", holiday, "out")
    assert "--overwrite" in refused(call("remove", holiday, "out", "--mask"), 2)
    write_image(tmp_path / "large.png", np.zeros((1001, 1000, 3), np.uint8))
    assert "--largest" in refused(call("remove", "large.png", "out.png", "--largest", 1), 1)


def test_a_disk_that_is_full_is_one_line(call, monkeypatch):
    write = storage.write_bytes
    def full(path, data):
        if path.suffix == ".png": raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, data)
    monkeypatch.setattr(storage, "write_bytes", full)
    assert "try again" in refused(call("remove", samples, "out"), 1)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not hold to the limit")
@pytest.mark.parametrize("megabytes", [200, 450, 573, 600, 640, 690])
def test_too_little_memory_is_one_line(tmp_path, megabytes):
    import resource
    limit = (megabytes * 10**6,) * 2
    done = command("remove", person, tmp_path / "out.png",
                   preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, limit))
    if megabytes < 600: assert "too little memory to start" in refused(done, 1)
    elif done.returncode: assert "too little memory" in refused(done, 1)


def test_no_name_spoils_the_screen_or_the_line(tmp_path, call):
    for name in ("two\nlines.jpg", "\x1b[31mred.jpg", "bell\a.jpg"):
        (tmp_path / name).write_bytes(b"no photo")
        message = refused(call("remove", name, "out.png"), 1)
        assert "not a photo" in message and message[:-1].isprintable()
        assert ascii(name)[1:-1] in message


def test_a_folder_makes_no_folder_that_looks_like_a_photo(tmp_path, call):
    (tmp_path / "holiday.jpg").mkdir()
    assert "looks like a file" in refused(call("remove", "holiday.jpg", "cutout.png"), 2)
    assert call("remove", "holiday.jpg", "cutout.png/").returncode == 0


def test_the_longest_name_gets_a_result_too(tmp_path, call):
    photo = tmp_path / ("x" * 250 + ".jpg")
    photo.write_bytes(person.read_bytes())
    assert call("remove", photo).returncode == 0
    assert len([path for path in tmp_path.iterdir() if path.name.endswith(".cutout.png")]) == 1
    assert "choose a shorter name" in refused(call("remove", photo, "y" * 260 + ".png"), 2)


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="needs a file that never ends")
def test_a_stream_without_end_is_refused_by_its_beginning(tmp_path, call):
    assert "not a photo" in refused(call("remove", "/dev/zero", "out.png"), 1)
    with open("/dev/zero", "rb") as endless:
        assert "standard input: not a photo" in refused(command("remove", "-", tmp_path / "out.png",
                                                                stdin=endless, timeout=60), 1)


def test_what_the_system_refuses_is_said_with_the_file_and_a_hint(tmp_path, call):
    for name, target, hint in (("dead.jpg", "nowhere.jpg", "broken link"),
                               ("round.jpg", "round.jpg", "back to itself")):
        (tmp_path / name).symlink_to(target)
        message = refused(call("remove", name, "out.png"), 1)
        assert message.startswith(f"bg-remover: {name}: ") and hint in message


def test_a_reader_that_has_seen_enough_is_no_failure(tmp_path, holiday):
    for arguments in ("remove holiday {} --json", "remove --help", "evaluate {}/truth {}/truth"):
        (tmp_path / "truth").mkdir(exist_ok=True)
        write_mask(tmp_path / "truth/one.png", np.zeros((8, 8), np.uint8))
        line = f"{sys.executable} -c \"{start}\" {arguments.format(tmp_path, tmp_path)} | head -c 0"
        done = subprocess.run(line, shell=True, cwd=holiday.parent,
                              env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True,
                              text=True)
        for word in ("Traceback", "BrokenPipe", "Exception"): assert word not in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_leaves_nothing_partial_and_the_same_call_goes_on(tmp_path, workers):
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for number in range(40): shutil.copy(person, photos / f"{number}.jpg")
    line = [sys.executable, "-c", start, "remove", str(photos), str(out), "--workers", str(workers)]
    running = subprocess.Popen(line, env={**os.environ, "PYTHONPATH": str(root)},
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               start_new_session=True)
    deadline = time.monotonic() + 120
    while not list(out.glob("*.png")) and time.monotonic() < deadline: time.sleep(0.02)
    os.killpg(running.pid, signal.SIGINT) # as a terminal does: to all of its processes
    _, message = running.communicate(timeout=120)
    assert running.returncode == 130 and b"stopped" in message, message.decode()
    assert b"Traceback" not in message, message.decode()
    made = list(out.glob("*.png"))
    assert 0 < len(made) < 40 and not list(out.glob(".*.part"))
    for path in made: assert read_image(path).shape == read_image(person).shape


@pytest.mark.parametrize("loading", ["typer", "numpy", "onnxruntime", "bg_remover.tool.folders"])
def test_ctrl_c_while_it_is_still_loading_is_quiet(tmp_path, loading):
    interrupted = f"""if True:
        import importlib.abc, sys
        class Interrupt(importlib.abc.MetaPathFinder):
            def find_spec(self, name, *_):
                if name == {loading!r}: raise KeyboardInterrupt
        sys.meta_path.insert(0, Interrupt())
        from bg_remover.__main__ import main
        main()"""
    done = command("remove", person, tmp_path / "out.png", start=interrupted)
    said = done.stderr.decode()
    assert done.returncode == 130 and said.count("\n") <= 1 and "Traceback" not in said, said
    assert not list(tmp_path.iterdir())


def on_a_screen(arguments: list[str], folder: Path, columns: int = 80) -> str:
    "What a terminal of this width shows of the command's messages."
    near, far = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(root), "COLUMNS": str(columns), "TERM": "xterm",
                   "LINES": "24"}
    running = subprocess.Popen([sys.executable, "-c", start, *arguments], cwd=folder,
                               env=environment, stdout=subprocess.PIPE, stderr=far)
    os.close(far)
    shown = b""
    while True:
        try: part = os.read(near, 4096)
        except OSError: break # on Linux, the end
        if not part: break
        shown += part
    running.communicate()
    os.close(near)
    return shown.decode()


@pytest.mark.skipif(os.name == "nt", reason="terminals")
def test_progress_is_for_terminals_alone(tmp_path, holiday):
    shown = on_a_screen(["remove", str(holiday), str(tmp_path / "out")], tmp_path)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert "3/3" in plain and "2 done, 1 failed" in plain
    # messages name files; the bar itself stays narrow
    assert max(len(line) for line in re.split(r"[\r\n]+", plain)) <= 160
    assert max(len(line) for line in re.split(r"[\r\n]+", plain) if "/3" in line
               and "bg-remover" not in line) <= 80
    assert b"\x1b" not in command("remove", holiday, tmp_path / "other").stderr


# --- what is asked for wrongly

@pytest.mark.parametrize("arguments, said", [
    (["remove"], "Missing argument"),
    (["improve"], "No such command"),
    (["remove", "nowhere.jpg", "out.png"], "nowhere.jpg: no such file"),
    (["remove", person, "out.jpg"], "give a background"),
    (["remove", person, "out.gif"], ".png, .webp or .jpg"),
    (["remove", person, "out"], "out/ or out.png"),
    (["remove", person, "out.webp", "--format", "png"], "--format"),
    (["remove", person, "out.png", "--background", "whyte"], "whyte"),
    (["remove", person, "out.png", "--background", "#12345678"], "solid"),
    (["remove", person, "out.png", "--mask", "--background", "white"], "a mask has no background"),
    (["remove", person, "out.png", "--model", "nowhere.onnx"], "nowhere.onnx"),
    (["remove", person, "out.png", "--model", person], "not an ONNX file"),
    (["remove", person, "out.png", "--workers", "0"], "--workers"),
    (["remove", person, "out.png", "--workers", "4"],
     "work on a folder can be shared; leave out --workers"),
    (["remove", person, person, "out/", "--workers", "4"], "leave out --workers"),
    (["remove", person, "out.webm", "--workers", "4"], "leave out --workers"),
    (["remove", samples, "out", "--scheduler", "tcp://127.0.0.1:9", "--workers", "4"],
     "leave out --workers"),
    (["remove", person, "out.png", "--format", "bmp"], "bmp"),
    (["remove", person, "-", "--json"], "--json"),
    (["remove", "-", "folder/"], "standard input"),
    (["remove", samples, "-"], "is a folder"),
    (["remove", "", "out.png"], "an argument is empty"),
    (["remove", person, ""], "an argument is empty"),
    (["remove", person, "out.png", "--background", ""], "an argument is empty"),
    (["remove", person, "out.png", "--model="], "an argument is empty"),
    (["train", "", "run"], "an argument is empty"),
    (["remove", samples, samples], "contains the photos"),
    (["evaluate", "nowhere", "nowhere"], "nowhere: no such folder"),
    (["export", "run", "out.pb"], ".onnx")])
def test_a_wrong_call_is_one_line_and_status_2(call, tmp_path, arguments, said):
    assert said in refused(call(*arguments), 2)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("data, said",
                         [(b"", "standard input: the file is empty"),
                          (b"no photo", "standard input: not a photo"),
                                        (person.read_bytes()[:5000], "standard input: damaged")])
def test_a_bad_photo_is_one_line_and_status_1(data, said):
    assert said in refused(command("remove", "-", "-", input=data), 1)


def test_a_file_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "a").write_text("a file")
    refused(command("remove", person, tmp_path / "a/out.png"), 1)


@pytest.mark.skipif(os.name == "nt", reason="terminals")
def test_a_keyboard_gives_no_photo_and_a_screen_takes_none(tmp_path):
    near, far = pty.openpty()
    for arguments, ends in ((["-", "out.png"], dict(stdin=far, stdout=subprocess.PIPE)),
                            ([str(person), "-"], dict(stdout=far))):
        done = subprocess.run([sys.executable, "-c", start, "remove", *arguments], cwd=tmp_path,
                              env={**os.environ, "PYTHONPATH": str(root)}, stderr=subprocess.PIPE,
                              **ends)
        assert done.returncode == 2 and done.stderr.count(b"\n") == 1
    for end in (near, far): os.close(end)


@pytest.mark.parametrize("arguments, missing", [
    (["prepare", "a", "b"], "pycocotools"), (["train", "a", "b"], "pycocotools"),
                                                (["train", "a", "b"], "keras"),
    (["train", "a", "b"], "tensorflow"), (["export", "a", "b.onnx"], "keras"),
                                                (["export", "a", "b.onnx"], "tensorflow")])
def test_without_the_learners_packages_it_says_what_to_install(arguments, missing):
    hidden = f"import sys; sys.modules[{missing!r}] = None; {start}"
    assert 'pip install "bg-remover[learn]"' in refused(command(*arguments, start=hidden), 1)


# --- help and start

@pytest.mark.parametrize("name", [None, "remove", "draft", "prepare", "train", "export",
                                  "evaluate"])
def test_help_is_a_lesson_that_fits_the_screen(name):
    done = CliRunner().invoke(app, [name, "--help"] if name else ["--help"], terminal_width=80,
                              prog_name="bg-remover")
    assert done.exit_code == 0 and f"bg-remover {name or 'remove'} " in done.output
    # a summary that was cut off
    assert max(map(len, done.output.splitlines())) <= 80 and not re.search(r"[a-z,]\.\.\.",
                                                                           done.output)


def test_version_and_no_command():
    assert command("--version").stdout.decode().strip() == f"bg-remover {__version__}"
    done = command()
    assert done.returncode == 2 and b"Usage: " in done.stdout


def test_completion_knows_commands_and_options():
    words = dict(_BG_REMOVER_COMPLETE="complete_bash", COMP_WORDS="bg-remover remove --ba",
                 COMP_CWORD="2")
    assert b"--background" in command(environment=words).stdout
    assert b"evaluate" in command(environment=words
                                  | dict(COMP_WORDS="bg-remover ev", COMP_CWORD="1")).stdout
    script = command("--show-completion", "bash",
                     environment=dict(_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")).stdout
    assert b"_BG_REMOVER_COMPLETE=complete_bash" in script and b"bg-remover" in script


def test_a_start_brings_nothing_that_it_does_not_need(tmp_path):
    heavy = ["tensorflow", "keras", "matplotlib", "pycocotools", "rich", "pydantic", "IPython"]
    code = ("import sys\nimport atexit\natexit.register(lambda: "
            f"print([name for name in {heavy} if name in sys.modules]))\n{start}")
    assert command("remove", person, tmp_path / "out.png", start=code).stdout.strip() == b"[]"
    code = code.replace(str(heavy), str([*heavy, "numpy", "cv2", "PIL"]))
    assert command("--version", start=code).stdout.split(b"\n")[-2] == b"[]"


# --- own photos, own network

@pytest.fixture(scope="module")
def mine(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("own") / "mine"
    make_own_photos(folder)
    return folder


tiny = ["--epochs", "1", "--steps", "1", "--batch-size", "2", "--image-size", "32"]


@pytest.fixture(scope="module")
def run(mine, tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    "A network of one's own, after one step."
    folder = tmp_path_factory.mktemp("run") / "run"
    return folder, command("train", mine, folder, *tiny, timeout=300)


def test_from_own_photos_to_an_own_network_to_a_cut_out(run, tmp_path):
    folder, done = run
    assert done.returncode == 0, done.stderr.decode()
    said = done.stdout.decode()
    assert re.search(r"held-out photos: 1, mean IoU 0\.\d{3} before, 0\.\d{3} after", said)
    assert "1 photo cannot show which network is better" in said and "use it with" not in said
    assert b"epoch 1 of 1" in done.stderr
    assert all(line.startswith(b"bg-remover: ")
               for line in done.stderr.splitlines()), "TensorFlow talks"
    assert Remover(folder / "model.onnx").image_size == (32, 32)
    noted = json.loads((folder / "pairs.json").read_text())
    assert len(noted["trained"]) == 4 and len(noted["held_out"]) == 1
    assert not set(noted["trained"]) & set(noted["held_out"])
    cut = command("remove", person, tmp_path / "own.png", "--model", folder / "model.onnx",
                  "--json")
    assert cut.returncode == 0 and json.loads(cut.stdout)["verdict"] in ("done", "nobody")


def test_a_finished_run_is_not_trained_again_and_refuses_other_photos(run, mine, tmp_path, call):
    folder, done = run
    before = {path.name: path.read_bytes() for path in folder.glob("last-*")}
    again = call("train", mine, folder, *tiny)
    assert again.stdout == done.stdout and {path.name: path.read_bytes()
                                            for path in folder.glob("last-*")} == before
    other = shutil.copytree(mine, tmp_path / "other")
    for name in ("photos/4.jpg", "masks/4.webp"): (other / name).unlink()
    moved = shutil.copytree(folder, tmp_path / "run")
    done = call("train", other, moved, *tiny)
    masks, why = done.stderr.decode().splitlines()
    assert masks.endswith(f"look at {moved / 'pairs/pairs.jpg'}")
    assert "4 photos; person: smallest" in masks
    assert done.returncode == 1 and "other photos" in why


def test_export_writes_another_threshold(run, tmp_path, call):
    folder, _ = run
    done = call("export", folder, tmp_path / "strict.onnx", "--threshold", "0.7")
    assert done.returncode == 0 and Remover(tmp_path / "strict.onnx").threshold == 0.7
    photo = read_image(person)
    assert np.array_equal(Remover(tmp_path / "strict.onnx").answer(photo),
                          Remover(folder / "model.onnx").answer(photo))
    assert "no finished run" in refused(call("export", tmp_path, tmp_path / "none.onnx"), 1)


def test_prepare_takes_coco_and_own_photos(mine, tmp_path, call):
    done = call("prepare", samples.parent, tmp_path / "coco", "--split", "val", "--limit", 3)
    assert done.stdout.decode() == f"3 pairs in {tmp_path / 'coco'}\n" and done.returncode == 0
    count, summary = call("prepare", mine, tmp_path / "own").stdout.decode().splitlines()[:2]
    assert count.startswith("5 pairs")
    assert summary.startswith("5 photos; person: smallest ") and summary.endswith("own/pairs.jpg")
    assert "put your photos into photos" in refused(call("prepare", tmp_path, tmp_path / "none"), 1)


def test_prepare_refuses_what_is_for_the_other_kind_of_data(mine, tmp_path, call):
    for option in (("--limit", 1), ("--split", "val")):
        message = refused(call("prepare", mine, tmp_path / "pairs", *option), 2)
        assert f"{option[0]} is for COCO" in message
    for option in (("--longest", 64), ("--person", 0), ("--class", "human")):
        message = refused(call("prepare", samples.parent, tmp_path / "pairs", *option), 2)
        assert f"{option[0]} is for your own photos" in message
    assert not (tmp_path / "pairs").exists()
    assert "no such folder" in refused(call("prepare", "nowhere", "pairs", "--split", "val"), 1)


# --- masks of any tool, measured

def test_drafts_are_listed_the_most_doubtful_first(tmp_path, call):
    (tmp_path / "mine").mkdir()
    for path in (person, nobody): shutil.copy(path, tmp_path / "mine")
    done = call("draft", "mine", "masks")
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 0 and lines[0] == f"1.00  mine/{nobody.name}"
    assert person.name in lines[1]
    assert b"2 photos; those without a mask have a draft in masks" in done.stderr
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == sorted(
        [f"{person.name}.ora", f"{nobody.name}.ora", "doubt.csv"])
    assert "nowhere: no such folder" in refused(call("draft", "nowhere", "masks"), 1)


def test_evaluate_gives_figures_one_can_compute_by_hand(tmp_path):
    for folder in ("truth", "masks"): (tmp_path / folder).mkdir()
    half, quarter, none = (np.zeros((8, 8), np.uint8) for _ in range(3))
    half[:4], quarter[:2] = 255, 255
    for name, mask in (("a", half), ("b", half), ("c", half), ("d", none)):
        write_mask(tmp_path / f"truth/{name}.png", mask)
    write_mask(tmp_path / "masks/a.jpg.png", half)
    # a cut-out; c and d have none
    write_image(tmp_path / "masks/b.png", np.dstack([half, half, half, quarter]))
    done = command("evaluate", tmp_path / "masks", tmp_path / "truth", "--json")
    figures = json.loads(done.stdout)
    assert done.returncode == 0 and figures["photos"] == 4
    assert figures["iou"] == pytest.approx((1 + 0.5 + 0 + 1) / 4)
    assert figures["iou_low"] <= figures["iou"] <= figures["iou_high"]
    assert figures["whole_set_iou"] == pytest.approx((32 + 16) / 96)
    assert json.loads(command("evaluate", tmp_path / "masks", tmp_path / "truth", "--json",
                              "--least-share", "0.05").stdout)["photos"] == 3
    table = command("evaluate", tmp_path / "masks", tmp_path / "truth").stdout.decode()
    assert "mean IoU      0.625   (95 % interval" in table and "worst         c 0.000" in table
    write_mask(tmp_path / "masks/d.png", np.zeros((9, 8), np.uint8))
    wrong = command("evaluate", tmp_path / "masks", tmp_path / "truth", "--json")
    assert wrong.returncode == 1 and b"d.png" in wrong.stderr
    assert json.loads(wrong.stdout)["photos"] == 3


@pytest.mark.parametrize("words", [
    ["https://example.com/me.jpg"],
    ["HTTP://example.com/me.jpg", "me.png"],
    ["me.jpg", "me.png", "--background", "ftp://example.com/sea.jpg"],
])
def test_an_address_of_the_web_is_to_be_downloaded(words):
    done = CliRunner().invoke(app, ["remove", *words])
    assert done.exit_code == 2 and "nothing is fetched from the web; download it" in done.output


def test_names_are_matched_whatever_tools_add(tmp_path):
    for name in ("cat.JPG.png", "dog.heic", "a.b.png", ".hidden.png", "notes.txt"):
        (tmp_path / name).touch()
    assert sorted(by_photo(tmp_path)) == ["a.b", "cat", "dog"]
    (tmp_path / "cat.png").touch()
    with pytest.raises(ValueError, match="cat"): by_photo(tmp_path)


def test_masks_in_folders_are_scored_and_a_dead_link_is_named(tmp_path):
    from bg_remover.metrics import score_masks
    mask = np.zeros((6, 6), np.uint8)
    mask[2:4, 2:4] = 255
    apart = unicodedata.normalize("NFD", "é")
    for path in ("truth/cam0/1.png", "truth/cam1/1.png", "truth/é.png", "masks/cam0/1.jpg.png",
                 f"masks/{apart}.png", "truth/2.png"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        write_mask(tmp_path / path, mask)
    (tmp_path / "masks/2.png").symlink_to("nowhere.png")
    scores, problems = score_masks(tmp_path / "masks", tmp_path / "truth")
    assert {name: score["iou"] for name, score in scores.items()} == {"cam0/1": 1, "cam1/1": 0,
                                                                      "é": 1}
    assert len(problems) == 1 and "2.png: No such file or directory (a broken link" in problems[0]


def test_sixteen_bits_and_solid_alpha_are_masks_too(tmp_path):
    import cv2
    mask = np.zeros((6, 6), np.uint8)
    mask[2:4] = 255
    cv2.imwrite(str(tmp_path / "deep.png"), np.uint16(mask) * 257)
    write_image(tmp_path / "solid.png", np.dstack([mask, mask, mask, np.full_like(mask, 255)]))
    for name in ("deep", "solid"):
        assert np.array_equal(read_any_mask(tmp_path / f"{name}.png"), mask)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_a_closed_stream_is_no_reason_to_fail(tmp_path, closed):
    line = f'"{sys.executable}" -m bg_remover remove "{person}" out.png {closed}'
    done = subprocess.run(["sh", "-c", line], cwd=tmp_path,
                          env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"",
                                                           b"") and (tmp_path / "out.png").exists()


def test_the_size_of_a_training_is_checked_first(call, tmp_path, mine):
    assert "--image-size must be a multiple of 32" in refused(call("train", mine, "run",
                                                                  "--image-size", "50"), 2)
    assert not (tmp_path / "run").exists()


def test_masks_of_other_photos_are_no_result(call, tmp_path):
    for folder, name in (("masks", "a.png"), ("truth", "b.png")):
        (tmp_path / folder).mkdir()
        write_mask(tmp_path / folder / name, np.full((4, 4), 255, np.uint8))
    assert "no mask has the same name as a true one" in refused(call("evaluate", "masks", "truth"),
                                                                2)


# One photo without OUT, films, the server

def test_one_photo_needs_no_out(tmp_path):
    photo = shutil.copy(person, tmp_path / "me.jpg")
    assert command("remove", photo).returncode == 0 and (tmp_path / "me.cutout.png").exists()
    assert command("remove", photo, "--mask", "--format",
                   "webp").returncode == 0 and (tmp_path / "me.mask.webp").exists()
    again = command("remove", photo)
    assert again.returncode == 0 and b"already done" in again.stderr
    assert command("remove", tmp_path).returncode == 2, "a folder needs a folder for its results"


def test_a_result_of_another_photo_is_not_taken_for_ones_own(tmp_path, call):
    shutil.copy(person, tmp_path / "a.jpg")
    write_image(tmp_path / "a.png", read_image(person)[::-1])
    (tmp_path / "a.txt").write_text("a note")
    assert call("remove", "a.jpg").returncode == 0
    result = (tmp_path / "a.cutout.png").read_bytes()
    assert "may be the result of a.jpg" in refused(call("remove", "a.png"), 2)
    assert (tmp_path / "a.cutout.png").read_bytes() == result
    assert call("remove", "a.png", "other.png").returncode == 0
    (tmp_path / "a.png").rename(tmp_path / "b.png")
    assert call("remove", "a.jpg").returncode == 0, "nobody else has this result"


def test_a_film_is_cut_out_by_the_same_command(tmp_path):
    av = pytest.importorskip("av")
    pixels = read_image(person)[:96, :128]
    with av.open(str(tmp_path / "clip.mp4"), "w") as file:
        stream = file.add_stream("libx264", rate=5)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for _ in range(3):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(stream.encode())
    done = command("remove", tmp_path / "clip.mp4", tmp_path / "clip.mov")
    assert done.returncode == 0 and ((tmp_path / "clip.mov").exists()
                                     or b"nobody" in done.stderr), done.stderr
    for option, said in ((["--mask"], "--mask is"), (["--keep", "background"], "--keep is"),
                         (["--keep-metadata"], "--keep-metadata is"),
                         (["-f", "png"], "--format is"), (["--largest", "50"], "--largest is")):
        wrong = command("remove", tmp_path / "clip.mp4", tmp_path / "out.webm", *option)
        assert f"{said} only for photos; leave it out for a film" in refused(wrong, 2)
    wrong = command("remove", tmp_path / "clip.mp4", tmp_path / "out.mp4")
    assert wrong.returncode != 0 and b"background" in wrong.stderr
    assert not (tmp_path / "out.mp4").exists()


def test_a_film_takes_the_options_that_films_have(monkeypatch, call, tmp_path):
    video, asked = pytest.importorskip("bg_remover.tool.video"), []
    def note(*given, progress, **options):
        asked.append(options)
        return video.FilmRecord(Path("clip.mp4"), None, "nobody")
    monkeypatch.setattr(video, "remove_film", note)
    (tmp_path / "clip.mp4").touch()
    for arguments in ([], ["--crop", "--padding", "10", "--feather", "4", "--quality", "50",
                           "--background", "white", "--overwrite"]):
        assert call("remove", "clip.mp4", "out.webm", *arguments).returncode == 0
    plain = dict(overwrite=False, background=None, crop=False, padding=5.0, feather=0.0)
    assert asked == [plain, dict(overwrite=True, background="white", crop=True, padding=10.0,
                                 feather=4.0, quality=50)]


def test_serve_says_what_it_is(): assert b"127.0.0.1" in command("serve", "--help").stdout


def test_a_network_of_others_says_its_licence_once(tmp_path, call):
    known = next(known for known in known_networks if known.name == "U2-Net")
    write_known_network(tmp_path / "other.onnx", known)
    model = ["--model", "other.onnx"]
    for arguments in ([person, "one.png"], [holiday_of_two(tmp_path), "all"],
                      [tmp_path / "two", "shared", "--workers", 2]):
        done = call("remove", *arguments, *model)
        lines = done.stderr.decode().splitlines()
        assert done.returncode == 0 and len(lines) == 1 + (arguments[0] != person), lines
        assert lines[0] == "bg-remover: other.onnx: recognised as U2-Net (Apache-2.0)"
    assert len({path.read_bytes() for path in tmp_path.glob(f"*/{person.name}.png")}) == 1
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / f"all/{person.name}.png").read_bytes()


def test_threads_and_processors_by_hand(tmp_path, call, monkeypatch):
    opened, photos = [], holiday_of_two(tmp_path)
    def note(path, threads=0, provider="cpu"):
        opened.append((threads, provider, cv2.getNumThreads()))
        return open_model(path, threads, provider)
    monkeypatch.setattr(removal, "open_model", note)
    for arguments in ([person, "out.png"], [photos, "out"]):
        done = call("remove", *arguments, "--threads", 1, "--provider", "openvino")
        assert done.returncode == 0 and done.stderr.count(b"openvino is not available") == 1
    assert opened == [(1, "openvino", 1)] * 2
    for arguments in ([], ["--workers", 2]):
        done = call("remove", photos, "out", "--overwrite", "--threads", 2, *arguments)
        assert done.returncode == 0
    assert cv2.getNumThreads() == cv2.getNumberOfCPUs()


def test_another_processor_is_named_rightly(call):
    assert "'gpu' is not one of" in refused(call("remove", person, "--provider", "gpu"), 2)


def holiday_of_two(folder: Path) -> Path:
    "A folder of two photos."
    (folder / "two").mkdir()
    for path in (person, nobody): shutil.copy(path, folder / "two")
    return folder / "two"


def test_crop_and_what_it_does_not_go_with(tmp_path):
    done = command("remove", person, tmp_path / "a.png", "--crop", "--padding", "0", "--feather",
                   "1")
    assert done.returncode == 0 and read_image(tmp_path / "a.png").size < read_image(person).size
    refused = command("remove", person, tmp_path / "b.png", "--crop", "--keep-metadata")
    assert refused.returncode == 2 and b"crop or keep" in refused.stderr
    assert not (tmp_path / "b.png").exists()


def test_careful_cutouts_of_a_folder_are_not_mixed_with_usual_ones(tmp_path, call):
    source, dest = tmp_path / "photos", tmp_path / "cutouts"
    source.mkdir()
    shutil.copy(person, source / "one.jpg")
    assert call("remove", source, dest, "--careful").returncode == 0
    careful = (dest / "one.jpg.png").read_bytes()
    assert "other settings" in refused(call("remove", source, dest), 2)
    assert call("remove", source, tmp_path / "usual").returncode == 0
    assert (tmp_path / "usual/one.jpg.png").read_bytes() != careful
    assert call("remove", person, tmp_path / "one.png", "--careful").returncode == 0
    assert (tmp_path / "one.png").read_bytes() == careful
