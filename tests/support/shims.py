"""Shims in front of the C library (LD_PRELOAD), built by the C compiler that is there."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


def compiler() -> str | None:
    """The C compiler that can build a shim, when there is one."""
    return shutil.which("cc") or shutil.which("gcc")


def build(name: str, folder: Path) -> Path:
    """The shim of this name, whose source lies here, ready for LD_PRELOAD."""
    shim, source = folder / f"{name}.so", Path(__file__).with_name(f"{name}.c")
    subprocess.run(
        [str(compiler()), "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", shim, source, "-ldl"], check=True
    )
    return shim
