"""What the figures share: the style, colours, numbers in mathematical text, the file."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator, Mapping
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
_FOOT = 0.16  # inches below a figure for its stamp


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


def stamp(command: str, date: str, versions: Mapping[str, str]) -> str:
    """One line that says what reproduces a figure.

    Parameters
    ----------
    command : str
        What measures it anew.
    date : str
        Of the measurement.
    versions : mapping of str to str
        As a record keeps them; of the hashes of sources among them the line has a digest.

    Returns
    -------
    str

    Examples
    --------
    >>> stamp("python -m validation.study.run", "2026-01-31", {"a_source_sha256": "0f"})
    'python -m validation.study.run  |  2026-01-31  |  sources f7801913'
    """
    return f"{command}  |  {date}  |  sources {digest(versions)}"


def digest(versions: Mapping[str, str]) -> str:
    """Eight digits for the hashes of sources among the versions of a record.

    Parameters
    ----------
    versions : mapping of str to str

    Returns
    -------
    str

    Examples
    --------
    >>> digest({"numpy": "2.4", "a_source_sha256": "0f"})
    'f7801913'
    """
    hashes = [f"{name}={versions[name]}" for name in sorted(versions) if "sha256" in name]
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()[:8]


def save_figure(
    figure: Figure, path: str | os.PathLike[str], stamp: str = "", description: str = ""
) -> Path:
    """Write a figure; an earlier file is replaced in one step.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    path : str or path
        The ending decides the format: png, pdf, svg.
    stamp : str
        A line that is set below the figure, on a strip of its own.
    description : str
        What is drawn, for readers who do not see it; a PNG file keeps it.

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
    described = {"Description": description} if description else {}
    metadata: dict[str, Any] = {
        "png": {"Software": None, **described},
        "pdf": {"CreationDate": None},
        "svg": {"Date": None},
    }
    with style(), _foot(figure, stamp) as area, replaced(path) as temporary:
        figure.savefig(temporary, format=kind, metadata=metadata.get(kind), bbox_inches=area)
    return Path(path)


@contextmanager
def _foot(figure: Figure, line: str) -> Iterator[Any]:
    """The area to save, in inches: the figure and a strip below it with the line."""
    if not line:
        yield None
        return
    from matplotlib.transforms import Bbox

    width, height = figure.get_size_inches()
    place = {"x": 1.0 - 0.06 / width, "y": -0.03 / height, "ha": "right", "va": "top"}
    # laid out now, while legends outside of the axes have their room: they would follow the edge of
    # the area that is saved, and one that is held in its place has no room
    figure.draw_without_rendering()
    layout = figure.get_layout_engine()
    figure.set_layout_engine("none")
    text = figure.text(s=plain_text(line), fontsize=6.0, color="#555555", **place)
    free = [each for each in figure.legends if each.get_bbox_to_anchor() is figure.bbox]
    for legend in free:
        legend.set_bbox_to_anchor((0, 0, 1, 1), figure.transFigure)
    try:
        yield Bbox.from_extents(0.0, -_FOOT, width, height)
    finally:
        text.remove()
        for legend in free:
            legend.set_bbox_to_anchor(None)
        figure.set_layout_engine(layout)


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
