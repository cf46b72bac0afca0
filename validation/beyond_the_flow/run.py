"""The U-curve with more classes and other training, one change at a time; see criterion.md."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch
import xarray as xr
from msgspec.structs import replace
from torch import nn

from overalign.deepnet.images import ImageData, Images
from overalign.deepnet.models import build_model
from overalign.deepnet.settings import Architecture, Sweep, Task, Training
from overalign.deepnet.statistics import UCurveTest, trained, u_curve
from overalign.deepnet.training import train
from overalign.executors import open_executor
from overalign.inference import Estimate, bootstrap, mean, paired_difference
from overalign.optimum import lowest_points
from overalign.plots.style import BLACK, BLUE, GREEN, GREY, PURPLE, VERMILION
from validation import common, u_curves
from validation.common import Criterion, FloatArray

DIMENSION, PER_CLASS, HELD_OUT = 20, 6, 2000  # sigma = 1
WIDTH = 64
RADIUS = {2: 1.5, 4: 2.0}  # of the class means; their distances are 3 and 3.3
SWEEPS, PROPOSALS = 3, 4096  # of the conditional sampler, as in docs/theory.md 6.4
STOP = 0.05 / math.log(2.0)  # part of the risk at f = 0
EPOCHS = 20_000
LOG2_C = tuple(np.arange(-16.0, 1.0, 2.0).tolist())
STEP = 2.0  # of the grid
COSINE = "predictor_cosine_empirical"
MEASURED = (
    *("outcome", "epochs", "test_accuracy", "train_risk", COSINE, "predictor_cosine_population"),
    *("tangent_kernel_alignment", "weight_displacement"),
)


class Variant(NamedTuple):
    """A way of training, and what it starts from."""

    training: Training = Training(batch_size=None, evaluate_every=20)
    balanced: bool = True  # as in the theory, or as torch begins
    separable: bool = True  # training inputs conditioned, or as they come


BASELINE = "descent"
VARIANTS = {
    BASELINE: Variant(),
    "batches": Variant(Training(batch_size=1, evaluate_every=1)),
    "decay": Variant(Training(batch_size=None, evaluate_every=20, weight_decay=0.02)),
    "adam": Variant(Training(batch_size=None, evaluate_every=10, optimiser="adam")),
    "torch's start": Variant(balanced=False),
    "unconditioned": Variant(separable=False),
}
SETTINGS = (*((2, name) for name in VARIANTS), (4, BASELINE), (4, "adam"))
RATE, ADAM_RATE = 0.005, 0.01
# of the criterion: for the two sides, and for place and alignment where they are compared
SIDES = dict(zip(SETTINGS, ("C1", "C3", "C4", "C5", "C7", "C8", "C2", "C5"), strict=True))
COMPARED = {"batches": ("C10", "C10"), "decay": ("C11", "C11"), "adam": ("C5", "C6")}
LOOKS = dict(zip(VARIANTS, (BLACK, BLUE, GREEN, VERMILION, PURPLE, GREY), strict=True))


class Scope(NamedTuple):
    """How large the study is."""

    classes: tuple[int, ...]
    log2_output_multipliers: tuple[float, ...]
    seed: int
    seeds: int
    fewest: int

    @property
    def settings(self) -> list[tuple[int, str]]:
        """Numbers of classes, and variants."""
        return [(classes, name) for classes, name in SETTINGS if classes in self.classes]


FULL = Scope((2, 4), LOG2_C, 8400, 48, 45)
QUICK = Scope((2, 4), (-4.0, -2.0, 0.0), 8190, 2, 2)


# ------------------------------------------------------------------------------------------- data


def class_means(classes: int, random: np.random.Generator) -> FloatArray:
    """Corners of a regular simplex, turned at random: the axes mean something to Adam.

    For two classes they are opposite to each other, as in the theory.
    """
    axes = np.linalg.qr(random.standard_normal((DIMENSION, classes)))[0].T
    corners = axes - axes.mean(axis=0)
    return np.asarray(RADIUS[classes] * corners / np.linalg.norm(corners, axis=1, keepdims=True))


def inputs(y: Any, means: FloatArray, random: np.random.Generator) -> FloatArray:
    """Independent inputs of the isotropic mixture."""
    return np.asarray(means[y] + random.standard_normal((len(y), DIMENSION)))


def separable_inputs(y: Any, means: FloatArray, random: np.random.Generator) -> FloatArray:
    """Inputs given <x_i, x_k> >= 0 within classes and <= 0 between them, by Gibbs sampling.

    For two classes this is orthogonal separability with lambda = 0.
    """
    x = np.empty((len(y), DIMENSION))
    for sweep in range(1 + SWEEPS):
        for i, label in enumerate(y):
            others = np.arange(len(y)) != i if sweep else np.arange(len(y)) < i
            walls = np.where(y[others] == label, 1.0, -1.0)[:, None] * x[others]
            x[i] = beyond_walls(walls, means[label], random)
    return x


def beyond_walls(walls: FloatArray, centre: FloatArray, random: np.random.Generator) -> FloatArray:
    """An input x around a class mean with <wall, x> >= 0 for all walls, by rejection."""
    while True:
        proposals = centre + random.standard_normal((PROPOSALS, DIMENSION))
        accepted = np.flatnonzero((proposals @ walls.T >= 0.0).all(axis=1))
        if accepted.size:
            return np.asarray(proposals[accepted[0]])


@lru_cache(maxsize=1)  # variants of the same data follow each other
def data_of(classes: int, separable: bool, seed: int) -> ImageData:
    """Training inputs, and test inputs of the mixture itself."""
    random = np.random.default_rng([seed, classes, separable])
    means = class_means(classes, random)

    def images(count: int, draw: Callable[..., FloatArray]) -> Images:
        y = np.arange(count) % classes
        x = draw(y, means, random).astype(np.float32)
        return Images(torch.from_numpy(x), torch.from_numpy(y))

    return ImageData(
        name="mixture",
        train=images(PER_CLASS * classes, separable_inputs if separable else inputs),
        validation=None,
        test=images(HELD_OUT, inputs),
        classes=classes,
        class_names=tuple(map(str, range(classes))),
        mean=torch.zeros(1, dtype=torch.float64),  # inputs are left as they are
        std=torch.ones(1, dtype=torch.float64),
        population_means=torch.from_numpy(means),
        record={},
    )


# -------------------------------------------------------------------------------------- measured


def network(classes: int, balanced: bool) -> nn.Module:
    """Two layers without biases as torch begins; or rows of W on the sphere and outputs to match.

    Balanced, with two classes, it is the network of the theory at alpha = sqrt(c), up to a factor.
    """
    model = build_model(Architecture(width=WIDTH, depth=2, bias=False), (DIMENSION,), classes)
    if balanced:
        inner, outer = (p.data for p in model.parameters())
        inner.normal_()
        inner /= inner.norm(dim=1, keepdim=True)
        outer.normal_()
        outer -= outer.mean(dim=0)
        outer /= outer.norm(dim=0)
    return model


def rate_of(name: str) -> float:
    """Adam's steps have a size of their own."""
    return ADAM_RATE if VARIANTS[name].training.optimiser == "adam" else RATE


def sweep_of(classes: int, name: str, scope: Scope) -> Sweep:
    """Grid and training of one variant."""
    training = replace(
        VARIANTS[name].training,
        epochs=EPOCHS,
        stop_accuracy=None,
        stop_risk=STOP * math.log(classes),
    )
    return Sweep(
        task=Task(data="mixture", n=PER_CLASS * classes, held_out=HELD_OUT),
        training=training,
        log2_output_multipliers=scope.log2_output_multipliers,
        learning_rates=(rate_of(name),),
        seeds=scope.seeds,
        seed=scope.seed,
        control=False,
    )


def runs(seed: int, scope: Scope) -> list[dict[str, Any]]:
    """All variants of one seed: from the same data and initial weights but where these vary."""
    rows: list[dict[str, Any]] = []
    for classes, name in scope.settings:
        variant, sweep = VARIANTS[name], sweep_of(classes, name, scope)
        table = train(
            partial(network, classes, variant.balanced),
            data_of(classes, variant.separable, seed),
            *(sweep.cells, sweep.training, seed),
            stacked=True,
        )
        for k, cell in enumerate(sweep.cells):
            row: dict[str, Any] = {"classes": classes, "variant": name, "seed": seed}
            row |= {"log2_output_multiplier": cell.log2_output_multiplier}
            rows.append(row | {of: table[of].values[k].item() for of in MEASURED})
    return rows


# ---------------------------------------------------------------------------------------- judged


def table_of(
    rows: Sequence[Mapping[str, Any]], classes: int, name: str, scope: Scope
) -> xr.Dataset:
    """The table of one variant, as of a sweep."""
    key = {"classes": classes, "variant": name}
    mine = [
        {"task": "given", "learning_rate": rate_of(name)}
        | {k: v for k, v in row.items() if k not in key}
        for row in rows
        if all(row[k] == v for k, v in key.items())
    ]
    return u_curves.table_of(mine, sweep_of(classes, name, scope))


def by_seed(table: xr.Dataset, name: str) -> FloatArray:
    """[seed, c] of the trained runs, not a number elsewhere."""
    given = table.sel(task="given").isel(learning_rate=0)
    values = given[name].where(trained(given)).transpose("seed", "output_multiplier").values
    return np.asarray(values, dtype=float)


def shift(table: xr.Dataset, baseline: xr.Dataset) -> Estimate:
    """log2 c* less that of the baseline, over the c at which all runs of both are trained."""
    accuracies = [by_seed(each, "test_accuracy") for each in (table, baseline)]
    known = np.isfinite(accuracies).all(axis=(0, 1))
    grid = table["log2_output_multiplier"].values[known]

    def difference(*found: FloatArray) -> float:
        best = lowest_points(-np.array([each.mean(axis=0) for each in found]), grid)
        return float(best[0] - best[1])

    return bootstrap(difference, *(each[:, known] for each in accuracies), seed=0)


def cosine_change(table: xr.Dataset, baseline: xr.Dataset) -> Estimate:
    """Cosine to the class means of the training inputs at the smallest c, less the baseline's."""
    first, second = (by_seed(each, COSINE)[:, 0] for each in (table, baseline))
    known = np.isfinite(first) & np.isfinite(second)
    return paired_difference(first[known], second[known])


def judge(rows: Sequence[Mapping[str, Any]], scope: Scope) -> list[Criterion]:
    """The lines of criterion.md."""
    lines: list[Criterion] = []
    for classes, name in scope.settings:
        table = table_of(rows, classes, name, scope)
        curve, reached = u_curve(table), float(trained(table).mean())
        label = f"{classes} classes, {name}"
        number = SIDES[classes, name]
        lines.append(u_curves.dip(number, f"{label}: dip at small c", curve.left))
        lines.append(u_curves.dip(number, f"{label}: dip at large c", curve.right))
        lines.append(common.enough("C9", f"{label}: share that is trained", reached, 0.9))
        if name in COMPARED:
            place, alignment = COMPARED[name]
            baseline = table_of(rows, classes, BASELINE, scope)
            value, low, high = shift(table, baseline)
            statement = f"{label}: log2 c* less that of {BASELINE}"
            lines.append(common.at_least(place, statement, value, -STEP, (low, high)))
            lines.append(common.at_most(place, statement, value, STEP, (low, high)))
            value, low, high = cosine_change(table, baseline)
            statement = f"{label}: cosine to the class means at the smallest c less {BASELINE}"
            lines.append(common.at_least(alignment, statement, value, -0.02, (low, high)))
    seeds = len({row["seed"] for row in rows})
    return [*lines, common.enough("C9", "seeds", seeds, scope.fewest)]


# ----------------------------------------------------------------------------------------- drawn


def draw(results: Path) -> Any:
    """Test accuracy and alignment with the class means against c, by way of training."""
    rows = common.read_rows(results / "runs.csv")
    scope = QUICK if common.read_summary(results)["quick"] else FULL
    figure, axes = common.new_figure(2, len(scope.classes), width=3.4, height=2.3)
    log2_c = scope.log2_output_multipliers
    for classes, variant in scope.settings:
        column, colour = axes[:, scope.classes.index(classes)], LOOKS[variant]
        table = table_of(rows, classes, variant, scope)
        for ax, name in zip(column, ("test_accuracy", COSINE), strict=True):
            each = [mean(v[np.isfinite(v)]) for v in by_seed(table, name).T]
            middle, low, high = np.array(each).T
            ax.fill_between(log2_c, low, high, color=colour, alpha=0.12, linewidth=0)
            ax.plot(log2_c, middle, "o-", color=colour, markersize=2.5, label=variant)
        column[0].set_title(f"{classes} classes")
        column[1].set_xlabel(r"$\log_2 c$")
    axes[0, 0].set_ylabel("test accuracy")
    axes[1, 0].set_ylabel("cosine of the predictor\nto the class means")
    axes[1, 0].legend(loc="lower left", fontsize="x-small")
    return figure


FIGURES: common.Figures = {"figure.png": draw}


def reported(rows: Sequence[Mapping[str, Any]], scope: Scope) -> dict[str, Any]:
    """Tests and means by c of every variant."""
    found: dict[str, Any] = {}
    for classes, variant in scope.settings:
        table = table_of(rows, classes, variant, scope)
        means = {
            name: np.nanmean(by_seed(table, name), axis=0) for name in MEASURED if name != "outcome"
        }
        found[f"{classes} classes, {variant}"] = described(u_curve(table)) | {"means_by_c": means}
    return found


def described(curve: UCurveTest) -> dict[str, Any]:
    """A test in numbers."""
    sides = {"small c": curve.left, "large c": curve.right}
    gaps = {name: (side.difference, side.low, side.high) for name, side in sides.items()}
    return {"log2_best_c": curve.log2_best, "accuracy_at_best_less_that_at": gaps}


def main() -> None:
    """Run the study."""
    chosen = common.arguments(__file__, str(__doc__))
    scope = QUICK if chosen.quick else FULL
    seeds = range(scope.seed, scope.seed + scope.seeds)
    with open_executor("inline" if chosen.quick else "processes", u_curves.WORKERS) as pool:
        found = (pool.map if pool else map)(runs, seeds, repeat(scope))
        rows = []
        for seed, of_seed in zip(seeds, found, strict=True):
            rows += of_seed
            common.note(f"seed {seed}")
    common.save_rows(chosen.output / "runs.csv", rows)
    # judged with the digits that are recorded: vertices of parabolas feel them
    rows = common.read_rows(chosen.output / "runs.csv")
    settings = {
        "trainings": {k: msgspec.to_builtins(each.training) for k, each in VARIANTS.items()},
        **{"dimension": DIMENSION, "per_class": PER_CLASS, "radius": RADIUS, "width": WIDTH},
        **{
            "held_out": HELD_OUT,
            "rates": {name: rate_of(name) for name in VARIANTS},
            "stop": STOP,
            "epochs": EPOCHS,
        },
        **scope._asdict(),
    }
    measured, criteria = reported(rows, scope), judge(rows, scope)
    common.record(
        *(chosen, "beyond_the_flow", settings, measured, criteria),
        packages=["torch", "xarray"],
    )
    common.save_figures(chosen.output, FIGURES)


if __name__ == "__main__":
    main()
