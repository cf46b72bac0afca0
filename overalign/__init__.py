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

from .alignment import Alignment, ClassAlignment, Cone, alignment_of, angle, dead_neurons
from .data import read_sample
from .errors import (
    ConfigError,
    DataFileError,
    OutputError,
    OveralignError,
    ProblemError,
    RunError,
    SamplingError,
    ToleranceError,
)
from .excess_error import (
    ClassMeanAngleLaw,
    ErrorEstimate,
    bayes_error,
    class_mean_angle,
    direction_error,
    direction_excess_error,
    held_out_error,
    network_error,
    over_alignment,
    over_fitting,
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
from .phases import (
    LimitAlignment,
    PhaseTimes,
    fitting_onset,
    limit_alignment,
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
from .ucurve import UCurve, find_optimum, run_ucurve

__version__ = "0.1.0"

__all__ = [
    "Alignment",
    "ClassAlignment",
    "ClassMeanAngleLaw",
    "Cone",
    "ConfigError",
    "DataFileError",
    "ErrorEstimate",
    "ExponentialLoss",
    "GaussianMixture",
    "Kinks",
    "LimitAlignment",
    "LogisticLoss",
    "Network",
    "Outcome",
    "OutputError",
    "OveralignError",
    "PhaseTimes",
    "ProblemError",
    "RunError",
    "Sample",
    "SamplingError",
    "SamplingReport",
    "Slides",
    "Snapshot",
    "SquareLoss",
    "Stop",
    "ToleranceError",
    "Trajectory",
    "UCurve",
    "alignment_of",
    "angle",
    "bayes_error",
    "class_mean_angle",
    "dead_neurons",
    "direction_error",
    "direction_excess_error",
    "find_optimum",
    "fitting_onset",
    "flow_dataset",
    "held_out_error",
    "limit_alignment",
    "log_alpha_where_zeta_vanishes",
    "network_error",
    "over_alignment",
    "over_fitting",
    "phase_times",
    "read_dataset",
    "read_sample",
    "reference_directions",
    "reference_errors",
    "run_ucurve",
    "solve",
    "solve_many",
    "sorting_times",
    "stop_at_margin",
    "stop_at_norm",
    "stop_at_risk",
    "stop_at_time",
    "write_dataset",
    "zeta",
]
