"""The one way scout40 compiles kernels: numba, GIL released, cached outside the source tree.

numba's own cache looks at one file only, so a cached kernel goes stale when a helper in another
file changes. Here the cache folder's name is a digest of every source file of the kernel
folders and of the versions that matter: a changed source is another folder.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import llvmlite
import numba
import numpy as np
from numba import types
from numba.extending import intrinsic as untyped_intrinsic
from numba.np.arrayobj import make_array

F = TypeVar("F", bound=Callable[..., Any])
_PACKAGE = Path(__file__).resolve().parents[1]
_FOLDERS = ("streams", "emulator", "firmware")  # those that hold kernels


def _sources_digest() -> str:
    digest = hashlib.sha256()
    versions = (sys.version, numba.__version__, llvmlite.__version__, np.__version__)
    digest.update("|".join(versions).encode())
    for folder in _FOLDERS:
        for path in sorted((_PACKAGE / folder).rglob("*.py")):
            digest.update(path.name.encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:20]


@functools.cache
def cache_folder() -> Path:
    """Folder for compiled and generated code: $SCOUT40_CACHE, else the user's cache folder.

    Falls back to a private temporary folder when neither can be written.
    """
    root = os.environ.get("SCOUT40_CACHE")
    base = Path(root) if root else Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
    folder = base / "scout40" / _sources_digest()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="scout40-"))
    return folder


def njit(function: F) -> F:
    """``numba.njit`` with the GIL released, exact arithmetic and the keyed cache."""
    before = numba.config.CACHE_DIR
    # numba reads the folder while it decorates; other users of numba keep theirs.
    numba.config.CACHE_DIR = str(cache_folder())
    try:
        compiled: F = numba.njit(nogil=True, cache=True, error_model="numpy")(function)
    finally:
        numba.config.CACHE_DIR = before
    return compiled


def inline(function: F) -> F:
    """A helper that is inlined into the kernels of its own module by LLVM."""
    compiled: F = numba.njit(nogil=True, inline="never", error_model="numpy")(function)
    return compiled


def generated_module(name: str, source: str) -> ModuleType:
    """Import ``source`` (made from a declaration of ours) as a real file, so numba can cache it.

    name:
        stem of the module's name; a digest of the source makes it unique.
    """
    stem = f"{name}_{hashlib.sha256(source.encode()).hexdigest()[:12]}"
    folder = cache_folder() / "generated"
    folder.mkdir(exist_ok=True, mode=0o700)
    path = folder / f"{stem}.py"
    if not path.exists() or path.read_text() != source:
        with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as stream:
            stream.write(source)
        os.replace(stream.name, path)  # two processes may generate at once: both write the same
    spec = importlib.util.spec_from_file_location(f"scout40_generated.{stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot load generated module {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    """``numba.extending.intrinsic``; kernels call it without the first argument."""
    made: Callable[..., Any] = untyped_intrinsic(function)
    return made


@intrinsic
def pointer(typingctx: Any, array: Any) -> Any:
    """In a kernel: pointer to the first element of a contiguous array, to be indexed like it.

    numba counts a reference for every array handed to a function and checks every signed index
    for wrap-around; in a kernel of many small functions that costs several times the work. A
    pointer has neither. The caller must keep the array and stay inside it.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return make_array(array)(context, builder, args[0]).data

    return types.CPointer(array.dtype)(array), codegen
