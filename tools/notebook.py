"""Run notebooks from top to bottom, store their outputs, clean them and export the package.

    python tools/notebook.py 04_data_prep tool/photos ...      these, or all when none is named
"""
import os
import subprocess
import sys

from house import notebooks, root, solutions
from nbdev.clean import nbdev_clean
from nbdev.doclinks import nbdev_export
from nbdev.test import nbdev_test


def main(names: list[str]):
    named = [root / f"nbs/{name.removesuffix('.ipynb')}.ipynb" for name in names]
    paths = named or [*notebooks(), *solutions()]
    missing = [path for path in paths if not path.exists()]
    if missing:
        sys.exit(f"{missing[0]} is not there; name a notebook as in NAME=04_data_prep or "
                 "NAME=tool/photos")
    # each in a process of its own: what one sets, such as the format of pictures, must not reach
    # the next
    if len(paths) > 1:
        for path in paths:
            subprocess.run([sys.executable, __file__, str(path.relative_to(root / "nbs"))],
                           check=True)
        return
    path, = paths
    os.environ["TQDM_DISABLE"] = "1" # progress is for whoever waits, and nothing to store
    # The export comes first too: the notebook's own later cells, and the other notebooks, import
    # the package.
    nbdev_export(path=str(path))
    nbdev_test(path=str(path), n_workers=0, save=True)
    nbdev_clean(fname=str(path))
    print(f"{path.name}: outputs stored, clean, exported")


if __name__ == "__main__":
    main([name for name in sys.argv[1:] if name])
