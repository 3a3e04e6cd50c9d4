"""Build the package from settings.ini, the one place where its metadata stands."""
from configparser import ConfigParser
from pathlib import Path

from setuptools import setup

here = Path(__file__).parent
config = ConfigParser(delimiters=["="], interpolation=None)
config.read(here / "settings.ini", encoding="utf-8")
settings = config["DEFAULT"]


def requirements(key):
    return settings[key].split("\n")[1:]


python_versions = range(int(settings["min_python"].split(".")[1]), int(settings["below_python"].split(".")[1]))
statuses = {"1": "1 - Planning", "2": "2 - Pre-Alpha", "3": "3 - Alpha", "4": "4 - Beta", "5": "5 - Production/Stable"}

setup(
    name=settings["lib_name"],
    version=settings["version"],
    description=settings["description"],
    long_description=(here / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author=settings["author"],
    keywords=settings["keywords"],
    license_expression=settings["license"],
    project_urls={"Source": settings["address"]} if settings["address"] else {},
    classifiers=[
        f"Development Status :: {statuses[settings['status']]}",
        f"Intended Audience :: {settings['audience']}",
        "Programming Language :: Python :: 3 :: Only",
        *[f"Programming Language :: Python :: 3.{minor}" for minor in python_versions],
        "Topic :: Multimedia :: Graphics",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
    python_requires=f">={settings['min_python']},<{settings['below_python']}",
    packages=[settings["lib_path"], *(f"{settings['lib_path']}.{name}" for name in ("base", "tool", "weights"))],
    package_data={f"{settings['lib_path']}.weights": ["*"]},
    install_requires=requirements("requirements"),
    extras_require={extra: requirements(f"{extra}_requirements") for extra in ("learn", "heic", "scale", "dev", "docs")},
    entry_points={"nbdev": [f"{settings['lib_path']} = {settings['lib_path']}._modidx:d"], "console_scripts": [settings["console_scripts"]]},
    zip_safe=False,
)
