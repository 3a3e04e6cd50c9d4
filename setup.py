"""Build the package: requirements and the command from settings.ini, the version from
bg_remover/__init__.py, the rest from pyproject.toml."""
import re
from configparser import ConfigParser
from pathlib import Path

from setuptools import setup

here = Path(__file__).parent
config = ConfigParser(delimiters=["="], interpolation=None)
config.read(here / "settings.ini", encoding="utf-8")
settings = config["DEFAULT"]
version = re.search(r'^__version__ = "(.+)"',
                    (here / "bg_remover/__init__.py").read_text(encoding="utf-8"), re.M)[1]


def requirements(key):
    return settings[key].split("\n")[1:]


least, below = (int(settings[key].split(".")[1]) for key in ("min_python", "below_python"))
extras = ("demo", "learn", "heic", "video", "server", "scale", "dev", "docs")
statuses = {"3": "3 - Alpha", "4": "4 - Beta", "5": "5 - Production/Stable"}

setup(
    version=version,
    long_description=(here / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license_expression=settings["license"],
    classifiers=[
        f"Development Status :: {statuses[settings['status']]}",
        f"Intended Audience :: {settings['audience']}",
        "Programming Language :: Python :: 3 :: Only",
        *[f"Programming Language :: Python :: 3.{minor}" for minor in range(least, below)],
        "Topic :: Multimedia :: Graphics",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
    packages=["bg_remover", "bg_remover.base", "bg_remover.figures", "bg_remover.tool",
              "bg_remover.weights"],
    package_data={"bg_remover.figures": ["*"], "bg_remover.weights": ["*"]},
    install_requires=requirements("requirements"),
    extras_require={extra: requirements(f"{extra}_requirements") for extra in extras},
    entry_points={"nbdev": ["bg_remover = bg_remover._modidx:d"],
                  "console_scripts": [settings["console_scripts"]]},
    zip_safe=False,
)
