"""What the figures share: the style, colours, numbers in mathematical text, the file."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import ProblemError
from ..records import replaced

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE = Path(__file__).parent / "styles" / "overalign.mplstyle"

BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
GREY, BLACK = "#9a9a9a", "#222222"


class Curve(NamedTuple):
    """How a quantity of a Dataset is drawn."""

    name: str
    label: str
    colour: str
    linestyle: Any = "-"


@contextmanager
def style() -> Iterator[None]:
    """The package's style, inside the block only."""
    import matplotlib.style

    with matplotlib.style.context(STYLE):
        yield


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure; an earlier file is replaced in one step.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    path : str or path
        The ending decides the format: png, pdf, svg.

    Returns
    -------
    pathlib.Path
        ``path``.

    Raises
    ------
    OutputError
        As `overalign.records.replaced`.
    ProblemError
        matplotlib does not know the format.

    Examples
    --------
    >>> import tempfile
    >>> from matplotlib.figure import Figure
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_figure(Figure(), f"{folder}/empty.png").stat().st_size > 0
    True
    """
    kind = Path(path).suffix.lstrip(".").lower()
    if kind not in figure.canvas.get_supported_filetypes():
        raise ProblemError(f"{path}: the ending says no format that can be drawn; use .png or .pdf")
    # without a date or a version the same figure gives the same bytes
    metadata = {"png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
    with style(), replaced(path) as temporary:
        figure.savefig(temporary, format=kind, metadata=metadata.get(kind))
    return Path(path)


def plain_text(text: str) -> str:
    """Text that matplotlib takes as it is: a dollar sign would start mathematics."""
    return text.replace("$", r"\$")


def power_of_ten(log_value: float) -> str:
    """exp(log_value) in mathematical text, also where it leaves float64."""
    exponent, rest = divmod(log_value / math.log(10.0) + 1e-9, 1.0)
    mantissa, power = f"{10.0**rest:.3g}", f"10^{{{exponent:.0f}}}"
    if exponent in (-1.0, 0.0):
        return f"{math.exp(log_value):.3g}"
    return power if mantissa == "1" else rf"{mantissa}\times {power}"
