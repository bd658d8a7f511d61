"""Package list, computed from the folders; everything else is in pyproject.toml.

The source folders stand at the top of the repository and install below the namespace
package ``scout40`` (which has no ``__init__.py``): ``streams/block.py`` is imported as
``scout40.streams.block``. Bare names such as ``tools`` would overwrite files of other packages.
"""

from pathlib import Path

from setuptools import setup

FOLDERS = ("configs", "streams", "emulator", "firmware", "tools")
ROOT = Path(__file__).resolve().parent


def find_packages() -> list[str]:
    """Dotted names of every folder with an ``__init__.py`` below the five top folders."""
    found = []
    for folder in FOLDERS:
        for init in (ROOT / folder).rglob("__init__.py"):
            found.append(".".join(("scout40", *init.parent.relative_to(ROOT).parts)))
    return sorted(found)


setup(
    packages=find_packages(),
    package_dir={f"scout40.{folder}": folder for folder in FOLDERS},
    package_data={
        **{f"scout40.{folder}": ["py.typed"] for folder in FOLDERS},
        "scout40.configs": ["py.typed", "**/*.toml", "samples/**/*", "grafana/*.json"],
    },
    include_package_data=False,
)
