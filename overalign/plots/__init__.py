"""Figures. Each takes a Dataset and returns Axes; the numbers are computed in other modules.

The style is plots/styles/overalign.mplstyle; it holds inside these functions only.
"""

from .flow import Window, plot_flow, time_windows
from .style import save_figure
from .ucurve import plot_ucurve

__all__ = ["Window", "plot_flow", "plot_ucurve", "save_figure", "time_windows"]
