"""Runs a study as the main module of a process that ends when its standard input does.

`overalign verify` holds the other end, which the system closes however that process ends.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading


def main() -> None:
    """Run the module named first, with the arguments after it."""
    threading.Thread(target=_end_with_input, daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _end_with_input() -> None:
    os.read(0, 1)  # nothing is ever sent
    if sys.platform != "win32":
        os.killpg(0, signal.SIGKILL)  # with the workers of the study
    os._exit(1)


if __name__ == "__main__":
    main()
