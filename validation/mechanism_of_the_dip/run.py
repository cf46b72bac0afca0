"""What small alpha loses: pooling of the classes, an answer, or a wide cone; see criterion.md."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import overalign as oa
from overalign.alignment import ClassAlignment, active_pairs, angle
from overalign.excess_error import direction_error, network_error
from overalign.inference import Estimate, bootstrap, mean
from overalign.optimum import find_optimum
from overalign.plots.style import BLACK, BLUE, GREEN, PURPLE, VERMILION
from validation import common
from validation.common import Criterion, FloatArray

LOG_ALPHAS = np.linspace(np.log(1e-4), np.log(0.4), 9)
KINDS = ("independent", "paired")
TOLERANCE, ERROR_ACCURACY = 1e-4, 0.02
TEST_INPUTS = 4096  # of either class, the same at every alpha
ANGLES = 16  # nodes of the mean over directions


class Population(NamedTuple):
    """Sizes of the problem; sigma = 1, separable at lambda = 0."""

    positives: int
    negatives: int
    dimension: int
    kappa: float
    width: int
    eta: float


POPULATIONS = {
    "A": Population(7, 7, 24, 1.6, 64, 0.05),
    "B": Population(9, 9, 32, 1.9, 96, 0.02),
    "U": Population(4, 12, 24, 1.6, 64, 0.05),
}


class Scope(NamedTuple):
    """How large the study is."""

    populations: tuple[str, ...]
    seed: int
    sets: int
    fewest: int


FULL = Scope(("A", "B", "U"), 5210, 20, 20)
QUICK = Scope(("U",), 5299, 3, 3)


# ------------------------------------------------------------------------- rules in closed form


def orthant(mean_of_pair: FloatArray, covariance: FloatArray) -> float:
    """P(both of two normal variables are negative)."""
    from scipy.stats import multivariate_normal

    return float(multivariate_normal.cdf(np.zeros(2), mean_of_pair, covariance, True))


class Pair(NamedTuple):
    """Two predictors of norms that matter, the own one of a class and the other, and its law."""

    own: FloatArray
    other: FloatArray
    centre: FloatArray
    sigma: float

    def both_negative(self, *vectors: FloatArray) -> float:
        """P(an input of the class has negative products with both vectors)."""
        rows = np.array(vectors)
        return orthant(rows @ self.centre, self.sigma**2 * rows @ rows.T)

    @property
    def zone(self) -> float:
        """P(neither predictor is active)."""
        return self.both_negative(self.own, self.other)

    @property
    def linear(self) -> float:
        """Error of sign <own - other, x>."""
        from scipy.special import ndtr

        rule = self.own - self.other
        return float(ndtr(-(rule @ self.centre) / (self.sigma * np.linalg.norm(rule))))

    @property
    def merged(self) -> float:
        """Error of relu<own, x> - relu<other, x>, a coin where it is zero."""
        # on inputs with neither active the linear rule errs where also own - other is negative
        answered = self.linear - self.both_negative(self.other, self.own - self.other)
        return answered + 0.5 * self.zone


def without_the_other_class(
    of: ClassAlignment, sample: oa.Sample, mixture: oa.GaussianMixture
) -> float:
    """Mean error of a predictor for signals that agree with s on the span of its class alone.

    Across that span the signal is turned at random. Turning all that is not of the class, the other
    inputs with it, leaves every inner product as it is: training would be the same, turned.
    """
    from scipy.special import ndtr, roots_gegenbauer

    basis = np.linalg.svd(sample.x[sample.y == of.label], full_matrices=False)[2]
    signal = of.label * mixture.direction
    within = (basis @ of.predictor) @ (basis @ signal)
    across = np.prod([np.sqrt(max(0.0, 1.0 - np.sum((basis @ v) ** 2)))
                      for v in (of.predictor, signal)])  # fmt: skip
    free = mixture.dimension - len(basis)
    cosines, weights = roots_gegenbauer(ANGLES, 0.5 * free - 1.0)
    errors = ndtr(-mixture.kappa / mixture.sigma * (within + across * cosines))
    return float(weights @ errors / weights.sum())


def share_of_other_class(of: ClassAlignment, sample: oa.Sample) -> float:
    """Of the weights of the samples in w_hat, the part of the other class."""
    weights = np.linalg.lstsq(of.label * sample.signed.T, of.predictor, rcond=None)[0]
    return float(weights[sample.y != of.label].sum() / weights.sum())


# -------------------------------------------------------------------------------------- measured


def trained_alone(
    sample: oa.Sample, network: oa.Network, log_alpha: float, eta: float
) -> FloatArray:
    """The effective predictor of class + where the other class is taken away."""
    own = oa.Sample(sample.x[sample.y > 0], sample.y[sample.y > 0])
    end = oa.solve(own, network, log_alpha, oa.stop_at_risk(eta), tolerance=TOLERANCE).final
    live = active_pairs(end.direction, own).any(axis=1) & (end.sign > 0)
    return np.asarray(np.exp((end.log_norm + end.log_output)[live]) @ end.direction[live])


def wrong_in_the_zone(
    final: oa.Snapshot, predictors: Sequence[FloatArray], mixture: oa.GaussianMixture, seed: int
) -> float:
    """P(neither effective predictor is active and the network errs), a coin for f = 0."""
    noise = np.random.default_rng(seed).standard_normal((TEST_INPUTS, mixture.dimension))
    shares = []
    for label in (1, -1):
        x = label * mixture.kappa * mixture.direction + mixture.sigma * noise
        x = x[(x @ np.transpose(predictors) <= 0.0).all(axis=1)]
        answers = np.sign(label * common.outputs_at(final, x))
        shares.append(0.5 * float(np.sum(1.0 - answers)) / TEST_INPUTS)
    return float(np.mean(shares))


def measure(task: tuple[str, Scope, int]) -> list[dict[str, Any]]:
    """One data set with both initialisations at every scale."""
    name, scope, index = task
    population = POPULATIONS[name]
    mixture = oa.GaussianMixture(population.dimension, population.kappa, 1.0)
    stream = scope.seed, list(POPULATIONS).index(name), index
    labels = np.repeat([1.0, -1.0], population[:2])
    sample = mixture.sample(
        labels.size, np.random.default_rng([*stream, 0]), separability=0.0, labels=labels
    )
    rows = []
    for kind in KINDS:
        network = oa.Network.random(
            population.width,
            population.dimension,
            np.random.default_rng([*stream, 1]),
            paired=kind == "paired",
        )
        for log_alpha in LOG_ALPHAS:
            key = {"population": name, "initialisation": kind, "set": index}
            key |= {"alpha": float(np.exp(log_alpha))}
            rows.append(key | measure_end(sample, network, float(log_alpha), mixture, population))
    return rows


def measure_end(
    sample: oa.Sample,
    network: oa.Network,
    log_alpha: float,
    mixture: oa.GaussianMixture,
    population: Population,
) -> dict[str, Any]:
    """The network at the stop, rules made of its predictors, and training without class -."""
    end = oa.solve(sample, network, log_alpha, oa.stop_at_risk(population.eta), tolerance=TOLERANCE)
    aligned = oa.alignment_of(end.final, sample)
    classes = (aligned.positive, aligned.negative)
    whole = [np.exp(of.log_norm) * of.predictor for of in classes]
    pairs = [
        Pair(own, other, of.label * mixture.kappa * mixture.direction, mixture.sigma)
        for of, own, other in zip(classes, whole, whole[::-1], strict=True)
    ]
    errors = [float(direction_error(of.predictor, mixture, of.label)) for of in classes]
    alone = trained_alone(sample, network, log_alpha, population.eta)
    found = network_error(end.final, mixture, relative_error=ERROR_ACCURACY)
    return {
        "reached": int(end.is_successful),
        "network": found.value,
        "merged": float(np.mean([pair.merged for pair in pairs])),
        "linear": float(np.mean([pair.linear for pair in pairs])),
        "pooled_mean": float(direction_error(sample.signed.sum(axis=0), mixture)),
        "zone": float(np.mean([pair.zone for pair in pairs])),
        "wrong_in_zone": wrong_in_the_zone(end.final, whole, mixture, seed=0),
        "predictor": float(np.mean(errors)),
        "predictor_positive": errors[0],
        "erased": float(np.mean([without_the_other_class(c, sample, mixture) for c in classes])),
        "other_share": float(np.mean([share_of_other_class(c, sample) for c in classes])),
        "cone_angle": float(np.mean([c.cone_angle for c in classes])),
        "alone_positive": float(direction_error(alone, mixture)),
        "cone_angle_alone": float(angle(alone, aligned.positive.class_direction)),
    }


# ---------------------------------------------------------------------------------------- judged


def curves(rows: Sequence[Mapping[str, Any]], name: str, kind: str) -> dict[str, FloatArray]:
    """Every quantity of one population and initialisation, [set, alpha]."""
    mine = [r for r in rows if (r["population"], r["initialisation"]) == (name, kind)]
    sets = len({row["set"] for row in mine})
    columns = [key for key in mine[0] if key not in ("population", "initialisation")]
    return {key: np.array([row[key] for row in mine]).reshape(sets, -1) for key in columns}


class Falls:
    """Changes from the smallest alpha to the optimum, which others than the data set choose."""

    def __init__(self, table: Mapping[str, FloatArray], optimum_of: str) -> None:
        self.table = table
        target = table[optimum_of]
        self.best = (target.sum(axis=0) - target).argmin(axis=1)

    def at_best(self, key: str) -> FloatArray:
        """[set]"""
        return np.asarray(self.table[key][np.arange(len(self.best)), self.best])

    def first(self, key: str) -> FloatArray:
        """[set]"""
        return self.table[key][:, 0]

    def of(self, key: str) -> FloatArray:
        """[set]"""
        return self.first(key) - self.at_best(key)


def statistics(rows: Sequence[Mapping[str, Any]], name: str, kind: str) -> dict[str, Estimate]:
    """What the lines are about, for one population and initialisation."""
    table = curves(rows, name, kind)
    optimum = find_optimum(table["network"], LOG_ALPHAS)
    places = np.array([optimum.log_alpha, optimum.low, optimum.high]) / np.log(10.0)
    return {
        "fall of the network": Estimate(*optimum.rise_small),
        "log10 alpha at the optimum": Estimate(*places.tolist()),
        **of_the_network(table),
        **of_the_predictor(table),
    }


def of_the_network(table: Mapping[str, FloatArray]) -> dict[str, Estimate]:
    """What the fall of the network's error is made of."""
    falls = Falls(table, "network")
    first, best = falls.first, falls.at_best
    parts = {
        "E(w_hat)": falls.of("predictor"),
        "the linear rule": falls.of("linear"),
        "the merged network": falls.of("merged"),
        "an answer at small alpha": first("network") - first("linear"),
        "merging at the optimum": best("merged") - best("network"),
        "the zone at the optimum": 0.5 * best("zone") - best("wrong_in_zone"),
        "merged less network at small alpha": first("merged") - first("network"),
    }
    whole = falls.of("network")
    shares = {
        f"share of {what}": bootstrap(lambda a, b: float(a.mean() / b.mean()), part, whole, seed=0)
        for what, part in parts.items()
    }
    gap = mean(first("linear") - first("pooled_mean"))
    zone = mean(first("zone"))
    return shares | {"linear rule less pooled mean at small alpha": gap, "zone": zone}


def of_the_predictor(table: Mapping[str, FloatArray]) -> dict[str, Estimate]:
    """Where the fall of E(w_hat) comes from, at its own optimum."""
    both, positive = Falls(table, "predictor"), Falls(table, "predictor_positive")
    rise = find_optimum(table["predictor"], LOG_ALPHAS).rise_small
    fall, kept = both.of("predictor"), both.of("erased")
    fall_of_one, alone = positive.of("predictor_positive"), positive.of("alone_positive")
    return {
        "fall of E(w_hat)": Estimate(*rise),
        "other class in w_hat at small alpha": mean(both.first("other_share")),
        "other class in w_hat, rise": mean(-both.of("other_share")),
        "fall where the other class tells nothing": mean(kept),
        "the same, less a quarter of the fall": mean(kept - 0.25 * fall),
        "fall of class + trained alone": mean(alone),
        "class + alone, less a quarter of its fall": mean(alone - 0.25 * fall_of_one),
        "class + alone, less half of its fall": mean(alone - 0.5 * fall_of_one),
        "opening of the cone of class + alone": mean(-positive.of("cone_angle_alone")),
        "opening of the cone": mean(-both.of("cone_angle")),
        "fall of class + less that of class -": mean(
            2.0 * both.of("predictor_positive") - 2.0 * fall
        ),
    }


LINES = (
    ("C1", common.at_least, "fall of the network", 0.0),
    ("C2", common.at_least, "share of the linear rule", 0.5),
    ("C3", common.at_least, "share of the merged network", 0.5),
    ("C4", common.at_least, "share of an answer at small alpha", 0.75),
    ("C5", common.at_least, "share of merging at the optimum", 0.5),
    ("C6", common.at_least, "share of the zone at the optimum", 0.5),
    ("C7", common.at_most, "other class in w_hat at small alpha", 0.01),
    ("C7", common.at_least, "other class in w_hat, rise", 0.05),
    ("C8", common.at_least, "fall of E(w_hat)", 0.0),
    ("C9", common.at_most, "the same, less a quarter of the fall", 0.0),
    ("C10", common.at_most, "class + alone, less a quarter of its fall", 0.0),
    ("C12", common.at_least, "share of E(w_hat)", 0.5),
    ("C13", common.at_least, "opening of the cone of class + alone", 0.0),
    ("C13", common.at_least, "class + alone, less half of its fall", 0.0),
)
UNEQUAL = ("C11", common.at_least, "fall of class + less that of class -", 0.0)


def judge(rows: Sequence[Mapping[str, Any]], scope: Scope) -> list[Criterion]:
    """The lines of criterion.md."""
    lines = []
    for name in scope.populations:
        for kind in KINDS:
            found = statistics(rows, name, kind)
            for number, by, key, threshold in (*LINES, *([UNEQUAL] if name == "U" else [])):
                value, low, high = found[key]
                lines.append(by(number, f"{name}, {kind}: {key}", value, threshold, (low, high)))
    sets = len({(row["population"], row["set"]) for row in rows}) // len(scope.populations)
    reached = float(np.mean([row["reached"] for row in rows]))
    return [
        *lines,
        common.enough("C14", "data sets of each population", sets, scope.fewest),
        common.enough("C14", "share that reaches the stop", reached, 0.99),
    ]


# ----------------------------------------------------------------------------------------- drawn

NETWORKS = (
    ("network", "network", BLACK, "-"),
    ("merged", "one neuron for each class", BLUE, (0, (4, 1.5))),
    ("linear", r"linear rule $\hat w_+ - \hat w_-$", GREEN, ":"),
    ("predictor", r"$E(\hat w)$", VERMILION, (0, (5, 1.5, 1, 1.5))),
)
PREDICTORS = (
    ("predictor", r"$E(\hat w)$", VERMILION, "-"),
    ("erased", "other class tells nothing", PURPLE, (0, (4, 1.5))),
)
ALONE = (
    ("predictor_positive", r"$E(\hat w_+)$", VERMILION, "-"),
    ("alone_positive", "trained without class $-$", PURPLE, (0, (4, 1.5))),
)


def draw(results: Path) -> Any:
    """Errors of network and of rules made of its predictors; and without the other class."""
    rows = common.read_rows(results / "runs.csv")
    names = list(dict.fromkeys(row["population"] for row in rows))
    figure, axes = common.new_figure(3, len(names), width=6.75 / max(len(names), 2), height=2.0)
    for column, name in zip(axes.T, names, strict=True):
        table = curves(rows, name, "independent")
        column[0].set_title(f"population {name}")
        draw_curves(column[0], table, NETWORKS, relative=False)
        draw_curves(column[1], table, PREDICTORS, relative=True)
        draw_curves(column[2], table, ALONE, relative=True)
        column[0].set_ylim(None, 1.3 * table["predictor"][:, 0].mean())
        for ax in column[1:]:
            ax.axhline(0.0, color="0.6", linewidth=0.8, zorder=0)
            ax.set_ylim(-0.016, 0.016)
        column[2].set_xlabel(r"$\alpha$")
    axes[0, 0].set_ylabel("test error")
    for ax in axes[1:, 0]:
        ax.set_ylabel("change of the error")
    for ax in axes[:, 0]:
        ax.legend(loc="upper left", fontsize="x-small")
    return figure


def draw_curves(ax: Any, table: Mapping[str, FloatArray], looks: Any, *, relative: bool) -> None:
    """Means over the data sets; relative to the smallest alpha with their intervals."""
    alphas = np.exp(LOG_ALPHAS)
    for key, label, colour, dashes in looks:
        values = table[key] - table[key][:, :1] if relative else table[key]
        middle, low, high = np.array([mean(column) for column in values.T]).T
        if relative:
            ax.fill_between(alphas, low, high, color=colour, alpha=0.16, linewidth=0)
        ax.plot(alphas, middle, color=colour, linestyle=dashes, label=label)
    ax.set_xscale("log")


FIGURES: common.Figures = {"figure.png": draw}


def main() -> None:
    """Run the study."""
    chosen = common.arguments(__file__, str(__doc__))
    scope = QUICK if chosen.quick else FULL
    tasks = [(name, scope, index) for name in scope.populations for index in range(scope.sets)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = [row for found in pool.map(measure, tasks) for row in found]
    common.save_rows(chosen.output / "runs.csv", rows)
    rows = common.read_rows(chosen.output / "runs.csv")  # judged from the digits recorded
    common.save_figures(chosen.output, FIGURES)
    measured = {
        f"{name}, {kind}": statistics(rows, name, kind)
        for name in scope.populations
        for kind in KINDS
    }
    settings: dict[str, Any] = {n: POPULATIONS[n]._asdict() for n in scope.populations}
    settings |= {"alphas": np.exp(LOG_ALPHAS), "tolerance": TOLERANCE, **scope._asdict()}
    common.record(chosen, "mechanism_of_the_dip", settings, measured, judge(rows, scope))


if __name__ == "__main__":
    main()
