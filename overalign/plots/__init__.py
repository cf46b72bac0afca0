"""Figures. Each takes a Dataset and returns Axes; the numbers are computed in other modules.

The style is plots/styles/overalign.mplstyle; it holds inside these functions only.
"""

from .flow import Window, plot_flow, time_windows
from .style import STYLE, digest, save_figure, stamp
from .sweep import (
    plot_accuracy,
    plot_alignment,
    plot_dispersion,
    plot_gain,
    plot_heat_map,
    plot_learning_curves,
)
from .ucurve import plot_ucurve

__all__ = [
    "STYLE",
    "Window",
    "digest",
    "plot_accuracy",
    "plot_alignment",
    "plot_dispersion",
    "plot_flow",
    "plot_gain",
    "plot_heat_map",
    "plot_learning_curves",
    "plot_ucurve",
    "save_figure",
    "stamp",
    "time_windows",
]
