"""The arguments that the recipes share."""
import argparse
from pathlib import Path


def recipe_parser(
    description: str, # the script's docstring, which --help shows as it is written
    *paths: str, # names of the files and folders that the script takes, in their order
) -> argparse.ArgumentParser:
    "A parser of a recipe's arguments; the script adds its own."
    parser = argparse.ArgumentParser(description=description,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    for path in paths: parser.add_argument(path, type=Path)
    return parser


def add_precision(parser: argparse.ArgumentParser):
    "The option `--precision` of a training."
    parser.add_argument("--precision", default="float32", choices=("float32", "mixed_bfloat16"),
                        help="in which training multiplies; weights stay float32")


def add_pseudo(parser: argparse.ArgumentParser):
    "The option `--pseudo`: what the photos with boxes bring to a training."
    parser.add_argument("--pseudo", type=Path, nargs="*", default=[],
                        help="folders that pseudo_masks.py made, to train on too")
