"""How kernels are compiled: outside Python's lock, and kept on disk where that is possible."""

from __future__ import annotations

from typing import Any

import numba


def compiled(function: Any, **options: Any) -> Any:
    """Compile a kernel that only other kernels call; no wrappers, which saves compile time."""
    settings: Any = {
        "nogil": True,
        "no_cpython_wrapper": True,
        "no_cfunc_wrapper": True,
        "error_model": "numpy",
    } | options
    try:
        return numba.njit(cache=True, **settings)(function)
    except RuntimeError:  # no cache folder is writable: compile in memory
        return numba.njit(**settings)(function)


def entry_point(function: Any) -> Any:
    """Compile a kernel that Python calls."""
    return compiled(function, no_cpython_wrapper=False)


def reduction(function: Any) -> Any:
    """Compile a kernel that only sums: its terms may be taken in any order, for speed.

    Not where results are stored: there the order would depend on which arrays happen to lie next
    to each other in memory, and equal runs would differ in their last digits.
    """
    return compiled(function, fastmath={"reassoc", "contract", "nsz"})
