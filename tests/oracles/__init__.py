"""Independent reference integrators for two-layer ReLU gradient flow.

Nothing here imports the package under test: plain arrays in, plain arrays out, numpy and scipy.
`kinks` integrates problems without sliding, `sliding` the Clarke subgradient flow in general.
"""

from .kinks import FlowResult, SlidingEncountered, StopNotReached, kink_flow
from .sliding import AmbiguousFlow, SlidingResult, catching_up, catching_up_ladder, sliding_flow

__all__ = [
    "AmbiguousFlow",
    "FlowResult",
    "SlidingEncountered",
    "SlidingResult",
    "StopNotReached",
    "catching_up",
    "catching_up_ladder",
    "kink_flow",
    "sliding_flow",
]
