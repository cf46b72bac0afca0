"""Training of c f against training of f from another scale: criterion.md."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from overalign.executors import open_executor
from overalign.inference import Estimate, mean
from overalign.plots.style import BLUE, GREEN, VERMILION
from validation import common
from validation.common import Criterion

if TYPE_CHECKING:
    from torch import nn

SAMPLES, FEATURES, CLASSES, BATCH = 40, 6, 3, 8
DEPTHS = (2, 3, 4)
LOOK = 10  # steps between looks at the outputs


class Rule(NamedTuple):
    """How f from alpha theta_0 is trained."""

    rate: float
    momentum: float
    weight_decay: float


RULES: Mapping[str, Rule] = {
    "plain": Rule(0.1, 0.0, 0.0),
    "momentum": Rule(0.02, 0.9, 0.0),
    "decay": Rule(0.1, 0.0, 0.05),
    "momentum and decay": Rule(0.02, 0.9, 0.05),
}
NORMALISED = ("normalised, L", "normalised, 2, eps", "normalised, 2")
MAPS = ("exact", "lr/c", "same decay", "biases", *NORMALISED)
OTHERS = (  # in the figure
    *("step lr/c", "the same decay", "with biases", "batch norm, degree L"),
    *("batch norm, degree 2, eps", "batch norm, degree 2"),
)
THRESHOLD, FALSIFIED = 1e-10, 1e-8
SEEN = 0.1  # difference of outputs that is another training


class Scope(NamedTuple):
    """How large the study is."""

    first_seed: int
    seeds: int
    scales: tuple[float, ...]  # no powers of two, whose products are exact
    steps: int


FULL = Scope(7200, 6, (0.55, 0.8, 1.3), 200)
QUICK = Scope(7900, 4, (1.3,), 100)


class Pair(NamedTuple):
    """c f from theta_0 and f from alpha theta_0, and how both are trained."""

    map: str
    depth: int
    alpha: float
    batches: str  # "full" or "random"
    rule: str
    seed: int
    steps: int


def pairs(scope: Scope) -> list[Pair]:
    """The exact map for every rule; others for plain descent on all samples."""
    seeds = range(scope.first_seed, scope.first_seed + scope.seeds)
    each = itertools.product(DEPTHS, scope.scales, ("full", "random"), RULES, seeds)
    found = [Pair("exact", *setting, scope.steps) for setting in each]
    for name in MAPS[1:]:
        rule = "decay" if name == "same decay" else "plain"
        for depth, alpha, seed in itertools.product(DEPTHS, scope.scales, seeds):
            found.append(Pair(name, depth, alpha, "full", rule, seed, scope.steps))
    return found


# -------------------------------------------------------------------------------------- measured


def network(pair: Pair, scale: float) -> nn.Module:
    """A network with all its weights at a scale."""
    import torch

    from overalign.deepnet.models import build_model
    from overalign.deepnet.seeds import initialised
    from overalign.deepnet.settings import Architecture

    architecture = Architecture(
        width=16,
        depth=pair.depth,
        bias=pair.map == "biases",
        batch_norm=pair.map in NORMALISED,
    )
    made = initialised(lambda: build_model(architecture, (FEATURES,), CLASSES), pair.seed).double()
    with torch.no_grad():
        for parameter in made.parameters():
            # torch's own law times sqrt(6) is He's, with outputs of order one
            parameter.mul_(scale * (math.sqrt(6.0) if parameter.ndim == 2 else 1.0))
    for part in made.modules():
        if isinstance(part, torch.nn.BatchNorm1d) and pair.map == "normalised, 2":
            part.eps = 1e-30  # torch takes no zero
    return made


def outputs(module: nn.Module, pair: Pair, rate: float, decay: float) -> Any:
    """Outputs on all samples along training; [look, sample, class]."""
    import torch
    from torch.nn.functional import cross_entropy

    stream = torch.Generator().manual_seed(pair.seed)
    x = torch.randn(SAMPLES, FEATURES, generator=stream, dtype=torch.float64)
    y = torch.randint(CLASSES, (SAMPLES,), generator=stream)
    momentum = RULES[pair.rule].momentum
    optimiser = torch.optim.SGD(module.parameters(), lr=rate, momentum=momentum, weight_decay=decay)
    found = [module(x).detach()]
    for step in range(pair.steps):
        chosen = torch.randperm(SAMPLES, generator=stream)
        if pair.batches == "random":
            chosen = chosen[:BATCH]
        optimiser.zero_grad()
        cross_entropy(module(x[chosen]), y[chosen]).backward()
        optimiser.step()
        if (step + 1) % LOOK == 0:
            found.append(module(x).detach())
    return torch.stack(found)


def measure(pair: Pair) -> dict[str, Any]:
    """Largest difference of the outputs of a pair, and how far they move."""
    import torch

    from overalign.deepnet.scaling import scaled_learning_rate, with_output_multiplier

    torch.set_num_threads(1)
    # behind a normalisation only what comes after the last one feels its scale
    degree = 2 if pair.map.startswith("normalised, 2") else pair.depth
    c = pair.alpha**degree
    rule = RULES[pair.rule]
    rate = scaled_learning_rate(rule.rate, c, None if pair.map == "lr/c" else degree)
    decay = rule.weight_decay
    # the same share of the weights in a step: rate times decay is that of the other network
    shared = decay if pair.map == "same decay" else decay * rule.rate / rate
    multiplied = outputs(with_output_multiplier(network(pair, 1.0), c), pair, rate, shared)
    scaled = outputs(network(pair, pair.alpha), pair, rule.rate, decay)
    return {
        **pair._asdict(),
        "difference": float((multiplied - scaled).abs().max()),
        "difference_at_start": float((multiplied[0] - scaled[0]).abs().max()),
        "movement": float((scaled - scaled[0]).abs().max()),
    }


# ---------------------------------------------------------------------------------------- judged


def of(rows: Sequence[Mapping[str, Any]], **wanted: Any) -> list[Mapping[str, Any]]:
    """The rows with these settings."""
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def by_seed(rows: Sequence[Mapping[str, Any]]) -> Estimate:
    """Mean over seeds of the mean of the differences."""
    seeds = sorted({row["seed"] for row in rows})
    return mean([np.mean([row["difference"] for row in of(rows, seed=seed)]) for seed in seeds])


def judge(rows: Sequence[Mapping[str, Any]], scope: Scope) -> list[Criterion]:
    """The lines of criterion.md."""
    exact = of(rows, map="exact")

    def identical(line: str, what: str, found: Sequence[Mapping[str, Any]]) -> Criterion:
        largest = max(row["difference"] for row in found)
        return common.exact(line, f"largest difference, {what}", largest, THRESHOLD, FALSIFIED)

    def other(line: str, what: str, found: Sequence[Mapping[str, Any]]) -> Criterion:
        value, low, high = by_seed(found)
        return common.at_least(line, f"mean difference, {what}", value, SEEN, (low, high))

    plain = of(exact, rule="plain")
    return [
        identical("C1", "gradient descent", of(plain, batches="full")),
        identical("C2", "stochastic gradient descent", of(plain, batches="random")),
        identical("C3", "momentum", of(exact, rule="momentum")),
        identical("C4", "weight decay", of(exact, rule="decay")),
        identical("C4", "momentum and weight decay", of(exact, rule="momentum and decay")),
        identical("C5", "lr/c with two layers", of(rows, map="lr/c", depth=2)),
        other("C6", "lr/c with three layers", of(rows, map="lr/c", depth=3)),
        other("C6", "lr/c with four layers", of(rows, map="lr/c", depth=4)),
        identical("C7", "batch normalisation taken as degree two", of(rows, map="normalised, 2")),
        common.enough("C8", "smallest movement", min(row["movement"] for row in rows), SEEN),
        common.enough("C8", "seeds", len({row["seed"] for row in rows}), scope.seeds),
    ]


def reported(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Estimate]]:
    """What breaks the map, by number of layers."""
    return {
        name: {
            f"{depth} layers": by_seed(found)
            for depth in DEPTHS
            if (found := of(rows, map=name, depth=depth))
        }
        for name in MAPS[1:]
    }


# ----------------------------------------------------------------------------------------- drawn


def draw(results: Path) -> Any:
    """Largest difference of the outputs of every pair, by how c f was trained."""
    rows = common.read_rows(results / "pairs.csv")
    figure, ((ax,),) = common.new_figure(1, 1, width=6.4, height=3.6)
    labels = [
        *((f"exact, {rule}", of(rows, map="exact", rule=rule)) for rule in RULES),
        *((label, of(rows, map=name)) for name, label in zip(MAPS[1:], OTHERS, strict=True)),
    ]
    for place, (_, found) in enumerate(labels):
        for shift, (depth, colour, marker) in enumerate(
            zip(DEPTHS, (BLUE, VERMILION, GREEN), "o^s", strict=True)
        ):
            values = np.maximum([row["difference"] for row in of(found, depth=depth)], 1e-17)
            x = place + 0.25 * (shift - 1) + np.linspace(-0.07, 0.07, values.size)
            label = f"{depth} layers" if place == 0 else None
            ax.plot(x, values, marker, color=colour, markersize=2.5, label=label)
    for limit, style in ((THRESHOLD, "--"), (FALSIFIED, ":"), (SEEN, "-.")):
        ax.axhline(limit, color="0.5", linestyle=style, linewidth=0.9, zorder=0)
    ax.set(yscale="log", ylabel="largest difference of the outputs")
    ax.set_xticks(range(len(labels)), [label for label, _ in labels], rotation=25, ha="right")
    lines = "dashed: the same below", "dotted: not the same above", "dash-dotted: another training"
    ax.legend(loc=(0.03, 0.52), ncols=3, title="\n".join(lines))
    return figure


FIGURES: Mapping[str, Callable[[Path], Any]] = {"figure.png": draw}


def main() -> None:
    """Run the study."""
    chosen = common.arguments(__file__, str(__doc__))
    scope = QUICK if chosen.quick else FULL
    with open_executor("processes", 2) as pool:
        rows = list(pool.map(measure, pairs(scope), chunksize=8))
    common.save_rows(chosen.output / "pairs.csv", rows)
    common.save_figures(chosen.output, FIGURES)
    settings = {"samples": SAMPLES, "features": FEATURES, "batch": BATCH, **scope._asdict()}
    settings |= {"rules": {name: rule._asdict() for name, rule in RULES.items()}}
    measured = {"mean_difference": reported(rows)}
    criteria = judge(rows, scope)
    common.record(chosen, "output_multiplier_is_scale", settings, measured, criteria, ["torch"])


if __name__ == "__main__":
    main()
