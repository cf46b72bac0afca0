"""Deep networks: feature-learning strength swept by an output multiplier, and what it does.

- what is asked for: settings; the random streams of a seed: seeds
- data: archives (of others), synthetic, images (read, drawn, normalised), dimension
- networks: models, scaling (c f, centered, paired)
- training: batches, optimisers, learners (alone or in a stack), course (the loop), ledger (what
  came of it), checkpoints, mechanism (what was aligned with), training (all of this)
- sweeps: runs (a group), calibration (how many in a stack), sweep (all groups, and their table)
- what comes of it: statistics, transfer, search

Settings load at once; all else, and what brings torch with it, when it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .settings import Architecture, Cell, Group, Sweep, Task, Training

if TYPE_CHECKING:
    from .dimension import intrinsic_dimension
    from .images import ImageData, Images, read_images
    from .mechanism import Mechanism, kernel_alignment, tangent_kernel
    from .models import build_model
    from .scaling import Centered, Paired, scaled_learning_rate, with_output_multiplier
    from .search import OutputMultiplierSearch, find_output_multiplier
    from .statistics import at_best_rates, control, dispersion, gain, summary, trained, u_curve
    from .sweep import plan, run_sweep
    from .training import train
    from .transfer import best_multiplier, fit_transfer

_PLACES = {
    "dimension": ("intrinsic_dimension",),
    "images": ("ImageData", "Images", "read_images"),
    "mechanism": ("Mechanism", "kernel_alignment", "tangent_kernel"),
    "models": ("build_model",),
    "scaling": ("Centered", "Paired", "scaled_learning_rate", "with_output_multiplier"),
    "search": ("OutputMultiplierSearch", "find_output_multiplier"),
    "statistics": (
        *("at_best_rates", "control", "dispersion", "gain", "summary", "trained", "u_curve"),
    ),
    "sweep": ("plan", "run_sweep"),
    "training": ("train",),
    "transfer": ("best_multiplier", "fit_transfer"),
}
_MODULE_OF = {name: module for module, names in _PLACES.items() for name in names}

__all__ = [
    "Architecture",
    "Cell",
    "Centered",
    "Group",
    "ImageData",
    "Images",
    "Mechanism",
    "OutputMultiplierSearch",
    "Paired",
    "Sweep",
    "Task",
    "Training",
    "at_best_rates",
    "best_multiplier",
    "build_model",
    "control",
    "dispersion",
    "find_output_multiplier",
    "fit_transfer",
    "gain",
    "intrinsic_dimension",
    "kernel_alignment",
    "plan",
    "read_images",
    "run_sweep",
    "scaled_learning_rate",
    "summary",
    "tangent_kernel",
    "train",
    "trained",
    "u_curve",
    "with_output_multiplier",
]


def __getattr__(name: str) -> Any:
    """Names of modules that are loaded when they are asked for."""
    if name in _MODULE_OF:
        return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
