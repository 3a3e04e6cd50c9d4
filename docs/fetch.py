"""Fetch from npm what the page "Try it" runs on, at the version and with the checksum of
package-lock.json. `make docs` calls this.

What is there already is not fetched again. Where npm or the network is missing, this says so, and
the site is built without the page.
"""
import json
import shutil
import subprocess
from pathlib import Path

docs = Path(__file__).resolve().parent
packages = docs / "node_modules"


def versions(lock: Path) -> dict[str, str]: # folder of a package → its version
    "What a lock file of npm names."
    found = json.loads(lock.read_text(encoding="utf-8"))["packages"] if lock.exists() else {}
    return {folder: package["version"] for folder, package in found.items() if folder}


def is_fetched() -> bool:
    """Whether everything lies there. npm writes its own lock file into the folder when it is
    through."""
    return versions(packages / ".package-lock.json") == versions(docs / "package-lock.json")


def main():
    if is_fetched(): return
    npm, without = shutil.which("npm"), 'the site comes without the page "Try it"'
    if not npm:
        print(f"npm is not installed: {without}. With Node.js 20 or newer, `make docs` adds it.")
        return
    print("Fetching onnxruntime-web from npm, once, for the page \"Try it\" ...", flush=True)
    done = subprocess.run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund",
                           "--fetch-retries=1"], cwd=docs, capture_output=True, text=True)
    if done.returncode:
        print(f"{done.stderr.strip()}\nnpm could not fetch it (see above): {without}. `make docs` "
              "tries again.")


if __name__ == "__main__":
    main()
