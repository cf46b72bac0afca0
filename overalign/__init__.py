"""Theory of feature-learning strength, held against measurements.

problem -> flow -> alignment -> excess error -> statements and claims -> verdicts -> report

Examples
--------
>>> import overalign as oa
>>> sample = oa.GaussianMixture(20, kappa=3.0, sigma=0.3).sample(8, seed=0)
>>> network = oa.Network.random(width=16, dimension=20, seed=0)
>>> run = oa.solve(sample, network, log_alpha=-7.0, stop=oa.stop_at_risk(0.05))
>>> run.status
'The stop was reached.'
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .alignment import Alignment, ClassAlignment, Cone, alignment_of, angle, dead_neurons
from .data import Split, read_sample, read_split
from .errors import (
    ConfigError,
    DataFileError,
    DerivationError,
    EnclosureError,
    OutputError,
    OveralignError,
    ProblemError,
    RunError,
    SamplingError,
    ScopeError,
    ToleranceError,
)
from .excess_error import (
    ClassMeanAngleLaw,
    ErrorEstimate,
    ExcessError,
    angle_excess_error,
    bayes_error,
    class_mean_angle,
    direction_error,
    excess_error_of,
    held_out_error,
    network_error,
    over_alignment,
    over_fitting,
    over_fitting_in_cone,
    reference_directions,
    reference_errors,
)
from .flow import (
    Kinks,
    Outcome,
    Slides,
    Snapshot,
    Stop,
    Trajectory,
    solve,
    solve_many,
    stop_at_margin,
    stop_at_norm,
    stop_at_risk,
    stop_at_time,
)
from .limit import LimitAlignment, limit_alignment
from .observation import Measured, Population, Problem
from .optimum import Optimum, Rise, find_optimum, over_sets
from .phases import (
    PhaseTimes,
    fitting_onset,
    log_alpha_where_zeta_vanishes,
    phase_times,
    sorting_times,
    zeta,
)
from .problem import (
    ExponentialLoss,
    GaussianMixture,
    LogisticLoss,
    Network,
    Sample,
    SamplingReport,
    SquareLoss,
)
from .records import read_dataset, write_dataset
from .tables import flow_dataset
from .ucurve import UCurve, run_ucurve
from .verdicts import Judgement, Verdict

if TYPE_CHECKING:
    from . import deepnet, statements

__version__ = "0.1.0"

__all__ = [
    "Alignment",
    "ClassAlignment",
    "ClassMeanAngleLaw",
    "Cone",
    "ConfigError",
    "DataFileError",
    "DerivationError",
    "EnclosureError",
    "ErrorEstimate",
    "ExcessError",
    "ExponentialLoss",
    "GaussianMixture",
    "Judgement",
    "Kinks",
    "LimitAlignment",
    "LogisticLoss",
    "Measured",
    "Network",
    "Optimum",
    "Outcome",
    "OutputError",
    "OveralignError",
    "PhaseTimes",
    "Population",
    "Problem",
    "ProblemError",
    "Rise",
    "RunError",
    "Sample",
    "SamplingError",
    "SamplingReport",
    "ScopeError",
    "Slides",
    "Snapshot",
    "Split",
    "SquareLoss",
    "Stop",
    "ToleranceError",
    "Trajectory",
    "UCurve",
    "Verdict",
    "alignment_of",
    "angle",
    "angle_excess_error",
    "bayes_error",
    "class_mean_angle",
    "dead_neurons",
    "deepnet",
    "direction_error",
    "excess_error_of",
    "find_optimum",
    "fitting_onset",
    "flow_dataset",
    "held_out_error",
    "limit_alignment",
    "log_alpha_where_zeta_vanishes",
    "network_error",
    "over_alignment",
    "over_fitting",
    "over_fitting_in_cone",
    "over_sets",
    "phase_times",
    "read_dataset",
    "read_sample",
    "read_split",
    "reference_directions",
    "reference_errors",
    "run_ucurve",
    "solve",
    "solve_many",
    "sorting_times",
    "statements",
    "stop_at_margin",
    "stop_at_norm",
    "stop_at_risk",
    "stop_at_time",
    "write_dataset",
    "zeta",
]


def __getattr__(name: str) -> Any:
    """Parts that bring a heavy library are loaded when they are asked for."""
    if name in ("deepnet", "statements"):
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
