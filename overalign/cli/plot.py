"""``overalign plot``: the figure of a claim, drawn again from what is recorded."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from ..errors import ClaimError, ProblemError
from ..records import require_writable
from .shared import REACHED, MaybePath

if TYPE_CHECKING:
    from ..claims import Claim

__all__ = ["PlotOptions", "run_plot"]


@dataclass(frozen=True)
class PlotOptions:
    """Draw the figure of a claim again, from what its study recorded.

    Needs a clone of the repository. Exit code 0: drawn; 2: the request cannot be met.

    Parameters
    ----------
    claim : str
        As Y6; `overalign report` has them all.
    output : path, optional
        The file; its ending decides the format (default: the claim's id with .png).

    Examples
    --------
    >>> PlotOptions("Y6").output is None
    True
    """

    claim: tyro.conf.Positional[str]
    output: MaybePath = None


def run_plot(options: PlotOptions) -> int:
    """What ``overalign plot`` does.

    Parameters
    ----------
    options : PlotOptions

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    OveralignError
        The request cannot be met.
    """
    from ..claims import find_checkout, find_claims, read_ledger
    from ..claims.ledger import read_summary
    from ..plots import save_figure, stamp

    checkout = find_checkout()
    claim = find_claims(read_ledger(checkout), [options.claim])[options.claim]
    path = options.output or Path(f"{claim.id}.png")
    require_writable(path)
    results = checkout / "validation" / claim.study / "results"
    summary = read_summary(results / "summary.json")
    draw = _drawing(checkout, claim)
    command = f"python -m validation.{claim.study}.run"
    line = stamp(command, summary["date"], summary.get("versions", {}))
    try:
        figure = draw(results)
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise ClaimError(
            f"{results}: lacks what {claim.figure} is drawn from ({error}); repeat the study: "
            f"{command}"
        ) from error
    save_figure(figure, path, stamp=line, description=str(draw.__doc__))
    print(f"wrote {path}")
    return REACHED


def _drawing(checkout: Path, claim: Claim) -> Callable[[Path], Any]:
    """What draws the figure of a claim from a folder of results."""
    study = f"validation.{claim.study}.run"
    try:
        with _first_on_path(checkout):
            module = importlib.import_module(study)
    except ImportError as error:
        raise ProblemError(
            f"{study} needs what is not installed ({error}): pip install -e '.[all]'"
        ) from error
    if not Path(str(module.__file__)).is_relative_to(checkout):
        raise ProblemError(f"{study} was imported from {module.__file__}, not from {checkout}")
    figures: Mapping[str, Callable[[Path], Any]] = getattr(module, "FIGURES", {})
    if claim.figure not in figures:
        raise ClaimError(
            f"the figure of {claim.id} cannot be drawn from its record: {claim.figure} is not "
            f"among FIGURES of validation/{claim.study}/run.py; python -m {study} draws it"
        )
    return figures[claim.figure]


@contextmanager
def _first_on_path(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
