"""Find new exact versions: install the extras, unpinned, into a new environment, and write what
came to constraints.txt.

Then run `make test` on every supported Python before keeping the file.
"""
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from bootstrap import ROOT, STAGES

heading = ("# The exact versions that `make` installs: all tests were run with them on "
           "Python 3.11; `make lock` finds new ones.\n")


def main():
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        python = next(path
                      for path in (Path(folder) / "bin/python", Path(folder) / "Scripts/python.exe")
                      if path.exists())
        subprocess.run([python, "-m", "pip", "install", f"{ROOT}[{STAGES['all']}]"],
                       check=True)
        frozen = subprocess.run([python, "-m", "pip", "freeze", "--all", "--exclude", "pip",
                                 "--exclude", "bg-remover"], check=True, capture_output=True,
                                text=True).stdout
    versions = sorted((line for line in frozen.splitlines() if re.fullmatch(r"[\w.-]+==\S+", line)),
                      key=str.lower)
    (ROOT / "constraints.txt").write_text(heading + "\n".join(versions) + "\n", encoding="utf-8")
    print(f"constraints.txt: {len(versions)} versions; run make test before you keep it")


if __name__ == "__main__":
    main()
