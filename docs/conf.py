"""Sphinx settings of the site; docs/build.py prepares the pages and calls Sphinx."""
import builtins
import re
from configparser import ConfigParser
from pathlib import Path

from fastcore.docments import docments
from sphinx.addnodes import pending_xref

from bg_remover import __version__

config = ConfigParser(delimiters=["="], interpolation=None)
config.read(Path(__file__).resolve().parent.parent / "settings.ini", encoding="utf-8")
settings = config["DEFAULT"]

project = settings["title"]
author = copyright = settings["author"]
release = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx_copybutton"]
nb_execution_mode = "off" # the pages show what the notebooks store
nb_ipywidgets_js = {} # these would be fetched from the network
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
html_math_renderer = "mathml"
exclude_patterns = ["notebooks", "measured"] # offered for download, not pages
# texts that a notebook links to are pages too, outside the menu
suppress_warnings = ["toc.not_included"]

html_theme = "furo"
html_title = settings["title"]
html_static_path = ["_static", "../bg_remover/figures/figures.css"]
html_css_files = ["site.css", "figures.css"]
html_js_files = ["site.js", "figures.js"]
html_favicon = "_static/favicon.svg"
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"source_repository": settings["address"], "source_branch": "main",
                      "source_directory": "nbs/"} if settings["address"] else {}
copybutton_exclude = ".linenos, .gp"

default_role = "code" # docstrings are written in Markdown, where `x` is code
add_module_names = False
# a method of ours that only repeats its parent has nothing to add
autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "undoc-members": True, "show-inheritance": True}
python_maximum_signature_line_length = 80


def to_rst(text):
    "A line of Markdown prose as reStructuredText: code stays code, all else is plain."
    parts = re.split(r"`([^`]+)`", text)
    return "".join(f"``{part}``" if i % 2 else re.sub(r"([\\*|_])", r"\\\1", part)
                   for i, part in enumerate(parts))


def add_parameter_comments(app, what, name, thing, options, lines):
    "Put back what autodoc drops: the comment beside each parameter."
    lines[:] = [to_rst(line) for line in lines]
    if what not in ("function", "method", "class"):
        return
    try:
        comments = docments(thing, full=True)
    except (TypeError, ValueError, OSError, SyntaxError):
        return
    fields = [(key, to_rst(" ".join(value.docment.split()))) for key, value in comments.items()
              if value.get("docment")]
    if fields:
        lines.append("")
        lines += [f":returns: {comment}" if key == "return" else f":param {key}: {comment}"
                  for key, comment in fields]
        lines.append("")


def leave_builtins(app, doctree):
    "A type such as `bytes` is Python's, even where a method of ours has the same name."
    for node in list(doctree.findall(pending_xref)):
        if node.get("refdomain") == "py" and hasattr(builtins, node.get("reftarget", "")):
            node.replace_self(node.children)


def mathml(self, node):
    "Formulas as MathML, which browsers draw without a script."
    from docutils.nodes import SkipNode
    from docutils.utils.math.latex2mathml import tex2mathml
    self.body.append(tex2mathml(node.astext(), as_block=node.tagname == "math_block"))
    raise SkipNode


def setup(app):
    app.connect("autodoc-process-docstring", add_parameter_comments)
    app.connect("doctree-read", leave_builtins)
    app.add_html_math_renderer("mathml", (mathml, None), (mathml, None))
