"""Render README.md from nbs/index.ipynb: prose, code and printed outputs; relative links start at
the repository's root.

Run as a script (`make readme`), it first draws the home page's pictures and fills its tables from
what was measured.
"""
import re
from pathlib import Path

from fastcore.nbio import read_nb

root = Path(__file__).resolve().parent.parent
header = "<!-- Rendered from nbs/index.ipynb by `make readme`; edit the notebook. -->\n\n"


def from_root(found: re.Match) -> str:
    "A relative link of a notebook in nbs/, as seen from the root."
    target = found[2]
    if re.match(r"[a-z]+:|#|/", target): return found[0]
    return found[1] + (target.removeprefix("../") if target.startswith("../")
                       else f"nbs/{target}") + found[3]


def printed(output: dict) -> str:
    "The text of one stored output."
    if output["output_type"] == "stream": return "".join(output["text"])
    data = output.get("data", {})
    if "image/png" in data or "image/jpeg" in data:
        raise ValueError("nbs/index.ipynb: a stored picture cannot go into README.md; keep it as a "
                         "file in nbs/images and show it with ![what it shows](images/...)")
    return "".join(data.get("text/plain", ""))


def render(index: Path) -> str:
    "The whole README."
    parts = []
    for cell in read_nb(index).cells:
        if cell.cell_type not in ("markdown", "code"): continue
        if re.search(r"^#\|\s*hide\s*$", cell.source, re.M): continue
        if cell.cell_type == "markdown":
            parts.append(re.sub(r"""(\]\(|<img[^>]*?\ssrc=["'])([^)"'\s]+)([)"'\s])""", from_root,
                                cell.source))
            continue
        source = re.sub(r"^#\|.*\n?", "", cell.source, flags=re.M).strip()
        if source: parts.append(f"```python\n{source}\n```")
        text = "".join(printed(output) for output in cell.outputs).rstrip()
        if text: parts.append("\n".join(f"    {line}".rstrip() for line in text.splitlines()))
    return header + "\n\n".join(part.strip("\n") for part in parts) + "\n"


if __name__ == "__main__":
    import pictures
    pictures.draw()
    pictures.fill_tables(root / "nbs/index.ipynb")
    (root / "README.md").write_text(render(root / "nbs/index.ipynb"), encoding="utf-8",
                                    newline="\n")
