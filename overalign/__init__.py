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

from .alignment import angle, dead_neurons, fitting_onset, flow_dataset
from .data import read_sample
from .errors import (
    DataFileError,
    OutputError,
    OveralignError,
    ProblemError,
    SamplingError,
    ToleranceError,
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

__version__ = "0.1.0"

__all__ = [
    "DataFileError",
    "ExponentialLoss",
    "GaussianMixture",
    "Kinks",
    "LogisticLoss",
    "Network",
    "Outcome",
    "OutputError",
    "OveralignError",
    "ProblemError",
    "Sample",
    "SamplingError",
    "SamplingReport",
    "Slides",
    "Snapshot",
    "SquareLoss",
    "Stop",
    "ToleranceError",
    "Trajectory",
    "angle",
    "dead_neurons",
    "fitting_onset",
    "flow_dataset",
    "read_dataset",
    "read_sample",
    "solve",
    "solve_many",
    "stop_at_margin",
    "stop_at_norm",
    "stop_at_risk",
    "stop_at_time",
    "write_dataset",
]
