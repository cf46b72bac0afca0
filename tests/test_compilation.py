"""The kernels compile in two processes at once, and where nothing can be cached."""

import os
import subprocess
import sys
from pathlib import Path

import overalign

SOLVE = """
import overalign as oa
sample = oa.Sample([[1.0, 0.0], [0.0, 1.0]], [1, -1])
run = oa.solve(sample, oa.Network.random(4, 2, seed=1), -5.0, oa.stop_at_risk(0.1))
print(run.status, run.time.hex())
"""
# a small kernel: how one is compiled does not depend on its size
ONE_KERNEL = """
import numpy as np
from overalign._kernels import integrate
from overalign._lines import wrong_along_lines
result = np.empty((1, 3))
wrong_along_lines(np.zeros((1, 1)), np.ones(1), np.zeros(1), np.ones(1), 1.0, result)
print(result[0, 0], [kernel.stats.cache_path for kernel in (integrate, wrong_along_lines)])
"""
PACKAGE = Path(overalign.__file__).parent


def start(environment: dict[str, str], cwd: Path, code: str = SOLVE) -> subprocess.Popen[str]:
    """``python -c`` imports from its working folder first."""
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent), **environment},
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def answer(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=900)
    assert process.returncode == 0, err
    assert err == ""
    return out


def test_two_processes_compile_at_once(tmp_path: Path) -> None:
    """One shared, empty cache; a third process then only reads it."""
    cache = {"NUMBA_CACHE_DIR": str(tmp_path)}
    first, second = start(cache, tmp_path), start(cache, tmp_path)
    answers = {answer(first), answer(second)}
    assert len(answers) == 1
    assert "The stop was reached." in answers.pop()
    kept = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.nbc")}
    assert kept
    answer(start(cache, tmp_path))
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.nbc")} == kept


def test_no_folder_can_be_written(tmp_path: Path) -> None:
    """Neither the package, nor the user's cache, nor the folder asked for: compile in memory."""
    copy = tmp_path / "overalign"
    copy.mkdir()
    for file in PACKAGE.glob("*.py"):
        (copy / file.name).write_text(file.read_text("utf-8"), "utf-8")
    (copy / "__pycache__").write_text("a file where numba wants a folder", "utf-8")
    process = start(
        {
            "PYTHONPATH": str(tmp_path),
            "PYTHONDONTWRITEBYTECODE": "1",
            "NUMBA_CACHE_DIR": str(copy / "__pycache__" / "below a file"),
            "HOME": os.devnull,
            "XDG_CACHE_HOME": str(Path(os.devnull) / "nothing"),
        },
        tmp_path,
        ONE_KERNEL,
    )
    assert answer(process) == "0.25 [None, None]\n"  # f = 0 on half of the line counts half
