"""Write the project's public address, which settings.ini alone knows, into the notebooks: a link
that opens each in Colab, and a cell that makes it run there. With an empty address both go. Running
it twice changes nothing.
"""
import re
from pathlib import Path
from urllib.parse import urlsplit

from fastcore.nbio import dict2nb, read_nb, write_nb

root = Path(__file__).resolve().parent.parent
badge_line = re.compile(r"\n*\[Open in Colab\]\([^)]*\)\n*\Z")
colab_source = """#| hide
try: import os, bg_remover
except ModuleNotFoundError: # in Colab: fetch the project with its samples, and install it, \
which takes a minute
    get_ipython().system("(test -d lessons || git clone -q --depth 1 {address} lessons) \
&& pip install -q './lessons[learn,scale]'")
finally: # in Colab, also after a restart
    if os.path.isdir("lessons/{folder}"): os.chdir("lessons/{folder}")"""


def colab_link(address: str, notebook: str) -> str:
    """Where Colab opens a notebook of a repository on GitHub; empty while there is no address.
    Colab opens no other host."""
    parts = urlsplit(address.rstrip("/").removesuffix(".git"))
    if not address: return ""
    if parts.scheme != "https" or parts.netloc != "github.com" or parts.path.count("/") != 2:
        raise ValueError(f"address = {address} in settings.ini: Colab opens only repositories "
                         "given as https, GitHub's host, owner and name")
    return f"https://colab.research.google.com/github{parts.path}/blob/main/nbs/{notebook}"


def with_badge(notebook: dict, link: str) -> dict:
    """The notebook with a link to itself at the end of its first cell, or without one when the
    link is empty."""
    first = notebook["cells"][0]
    text = badge_line.sub("", "".join(first["source"]))
    first["source"] = f"{text}\n\n[Open in Colab]({link})" if link else text
    return notebook


def with_address(
    notebook: dict, # as json holds it
    address: str, # of the project; empty: none
    name: str, # of the notebook within nbs, such as "01_images.ipynb"
) -> dict: # the same notebook
    """The notebook with its badge and, second, the cell for Colab; without both when the
    address is empty."""
    with_badge(notebook, colab_link(address, name))
    cells = [cell for cell in notebook["cells"] if cell.get("id") != "colab"]
    if address:
        source = colab_source.format(address=address, folder=(Path("nbs") / name).parent.as_posix())
        cells.insert(1,
                     dict(cell_type="code", id="colab", metadata={}, execution_count=None,
                          outputs=[], source=source))
    notebook["cells"] = cells
    return notebook


def with_repository(pyproject: str, address: str) -> str:
    """pyproject.toml with the address where pip and nbdev look for it, or without it when it is
    empty."""
    text = re.sub(r'\[project\.urls\]\nRepository = "[^"]*"\n\n', "", pyproject)
    urls = f'[project.urls]\nRepository = "{address}"\n\n' if address else ""
    return text.replace("[tool.nbdev]", f"{urls}[tool.nbdev]")


def main():
    address = re.search(r"^address *=(.*)$", (root / "settings.ini").read_text(encoding="utf-8"),
                        re.M)[1].strip()
    pyproject = root / "pyproject.toml"
    pyproject.write_text(with_repository(pyproject.read_text(encoding="utf-8"), address),
                         encoding="utf-8")
    for path in sorted(path for path in (root / "nbs").rglob("[!.]*.ipynb") if path.stem != "index"
                       and "_work" not in path.parts):
        before, after = read_nb(path), with_address(read_nb(path), address,
                                                    path.relative_to(root / "nbs").as_posix())
        if [cell["source"] for cell in after["cells"]] != [cell["source"]
                                                           for cell in before["cells"]]:
            write_nb(dict2nb(after), path)
    print(f"notebooks link to {address}" if address else "address is empty in settings.ini: the "
          "notebooks link nowhere")


if __name__ == "__main__":
    main()
