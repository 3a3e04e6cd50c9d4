"""Write the project's public address, which settings.ini alone knows, into the notebooks: a link that opens each in Colab.

With an empty address the badges go. Running it twice changes nothing.
"""
import re
from pathlib import Path
from urllib.parse import urlsplit

from fastcore.nbio import read_nb, write_nb

root = Path(__file__).resolve().parent.parent
badge_line = re.compile(r"\n*\[Open in Colab\]\([^)]*\)\n*\Z")


def colab_link(address: str, notebook: str) -> str:
    "Where Colab opens a notebook of a repository on GitHub; empty while there is no address. Colab opens no other host."
    parts = urlsplit(address.rstrip("/").removesuffix(".git"))
    if not address: return ""
    if parts.scheme != "https" or parts.netloc != "github.com" or parts.path.count("/") != 2:
        raise ValueError(f"address = {address} in settings.ini: Colab opens only repositories given as https, GitHub's host, owner and name")
    return f"https://colab.research.google.com/github{parts.path}/blob/main/nbs/{notebook}"


def with_badge(notebook: dict, link: str) -> dict:
    "The notebook with a link to itself at the end of its first cell, or without one when the link is empty."
    first = notebook["cells"][0]
    text = badge_line.sub("", "".join(first["source"]))
    first["source"] = f"{text}\n\n[Open in Colab]({link})" if link else text
    return notebook


def main():
    address = re.search(r"^address *=(.*)$", (root / "settings.ini").read_text(encoding="utf-8"), re.M)[1].strip()
    for path in sorted((root / "nbs").glob("[0-9]*.ipynb")):
        before = read_nb(path)
        first = before["cells"][0]["source"]
        after = with_badge(before, colab_link(address, path.name))
        if after["cells"][0]["source"] != first: write_nb(after, path)
    print(f"notebooks link to {address}" if address else "address is empty in settings.ini: the notebooks link nowhere")


if __name__ == "__main__":
    main()
