"""Signs and slopes that are proved over boxes of parameters; see criterion.md."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import sympy as sp

from overalign import statements
from overalign.enclosure import Certificate, certify, certify_monotone
from overalign.statements import alignment_phase as phase
from overalign.statements.quantities import QUANTITIES
from validation import common
from validation.common import Criterion

kappa, sigma, phi, theta_c, n, G, x_max = (
    QUANTITIES[name].symbol
    for name in ("kappa", "sigma", "phi", "theta_c", "n", "largest_class_norm", "x_max")
)
log_ratio, log_sigma, log_shape = sp.symbols("log_ratio log_sigma log_shape", real=True)
ratio, noise, shape = (sp.exp(log) for log in (log_ratio, log_sigma, log_shape))
g, b, t, zeta = sp.symbols("g b t zeta", positive=True)

RATIOS, QUARTER = (0.1, 10.0), (0.05, math.pi / 2)
CONE = {"kappa": RATIOS, "sigma": 1, "phi": QUARTER, "theta_c": (0, math.pi / 2)}
OFF_PI = phi + theta_c <= sp.pi - sp.Rational(1, 100)
PANELS = (0.003, 0.01, 0.03, 0.09)  # sigma
COLOURS = {"holds": "#1b7837", "fails": "#d9d9d9", "undecided": "#fdb863"}


class Scope(NamedTuple):
    """How large the study is."""

    parts: int  # for a region
    undecided: float  # share of it, at most
    depth: int  # halvings of the figure's cells
    sizes: tuple[tuple[int, int], ...]  # d, n_+


FULL = Scope(10_000, 0.02, 8, ((5, 6), (20, 6), (50, 6), (20, 24)))
QUICK = Scope(1_200, 0.06, 4, ((20, 6),))


class Claim(NamedTuple):
    """One claim of criterion.md and how it is proved."""

    line: str
    words: str
    prove: Callable[[], Certificate]


# ---------------------------------------------------------------------------------------- claims


def logs(low: float, high: float) -> tuple[float, float]:
    """A range in logarithms."""
    return math.log(low), math.log(high)


def monotone_claims() -> Iterator[Claim]:
    """C1 to C3."""
    OA, OF = statements.over_alignment, statements.over_fitting_at_most
    narrower = theta_c <= phi - sp.Rational(1, 100)
    any_data = CONE | {"sigma": (0.01, 10.0), "phi": (0, math.pi / 2), "dimension": (2, 1000)}
    any_data |= {"class_size": (1, 500), "lipschitz": (0.5, 4), "delta": "0.05"}

    def rises(statement: Any, box: Any, where: Any = ()) -> Certificate:
        found: Certificate = statement.certify("increasing", in_="theta_c", box=box, where=where)
        return found

    yield Claim(
        "C1",
        "OA falls in theta_c",
        lambda: OA.certify("decreasing", in_="theta_c", box=CONE, where=narrower),
    )
    yield Claim(
        "C2",
        "g rises in theta_c",
        lambda: rises(statements.over_fitting_concentration, any_data),
    )
    yield Claim("C3", "B1 rises in theta_c", lambda: rises(OF, CONE, OFF_PI))
    yield Claim(
        "C3",
        "OA + B1 rises in theta_c",
        lambda: certify_monotone(
            OA.expression + OF.expression, "increasing", theta_c, CONE, where=OFF_PI
        ),
    )


def room(at: Any = phi, slope: Any = None) -> Any:
    """The largest slope less a: (5.1) holds where it is positive."""
    largest = statements.largest_slope.expression.subs(kappa, ratio * sigma).subs(sigma, noise)
    a = 4 * noise * sp.sqrt(shape) if slope is None else slope
    return largest.subs(phi, at) - a


CENTRE = sp.atan(sp.sqrt(shape) / ratio)  # of phi
ROOM_AT_CENTRE = sp.expand(room(CENTRE) / sp.sqrt(shape))  # both sides grow like that factor


def optimum_claims() -> Iterator[Claim]:
    """C4: no interior optimum."""
    everywhere = {
        log_ratio: logs(*RATIOS),
        log_sigma: logs(0.1, 10),
        log_shape: logs(0.1, 100),
    }
    likely = {
        log_ratio: logs(4, 10),
        log_sigma: logs(1e-3, 10),
        log_shape: logs(0.1, 1),
    }
    for words, box in (("sigma >= 0.1", everywhere), ("separability is likely", likely)):
        yield Claim(
            "C4",
            f"(5.1) is false, {words}",
            lambda box=box: certify(ROOM_AT_CENTRE, "nonpositive", box),  # type: ignore[misc]
        )


def elementary_claims() -> Iterator[Claim]:
    """C5 and C6."""
    window = {"log_alpha": (-30, -5), "width": (1, 256), "x_max": (0.5, 5), "W_max": 1}
    errors = window | {"n": (2, 500), "class_norm": (0.1, 500)}
    zetas = (("lit", phase.ZETA_LIT), ("log", phase.ZETA_LOG), ("cls", phase.ZETA_CLS))
    for name, value in zetas:
        yield Claim(
            "C5",
            f"zeta_{name} < 1",
            lambda value=value: certify(1 - value, "positive", errors),  # type: ignore[misc]
        )
    longer = statements.longer_window.expression / statements.window.expression
    longer = sp.simplify(longer.subs(G, g * n * x_max))
    yield Claim(
        "C5", "T <= T_G", lambda: certify(longer - 1, "nonnegative", window | {"g": (0.001, 1)})
    )
    tanh, sech = (1 - b) / (1 + b), 2 * sp.sqrt(b) / (1 + b)
    for words, expression, box in (
        ("tanh A >= 1 - 2 exp(-2A)", tanh - 1 + 2 * b, {b: (1e-9, 1)}),
        ("sech^2 A <= 4 exp(-2A)", 4 * b - sech**2, {b: (1e-9, 1)}),
        ("1 - cos t >= 2 t^2 / pi^2", 1 - sp.cos(t) - 2 * t**2 / sp.pi**2, {t: (0.01, 3.13)}),
        ("1 - sqrt(zeta) <= 1 - zeta", sp.sqrt(zeta) - zeta, {zeta: (1e-6, 1 - 1e-6)}),
    ):
        yield Claim(
            "C6",
            words,
            lambda e=expression, box=box: certify(e, "nonnegative", box),  # type: ignore[misc]
        )


def regions(scope: Scope) -> Iterator[Claim]:
    """C7: where (5.1) holds, for some sigma."""
    planes: list[tuple[str, Any, dict[Any, Any]]] = [
        ("phi at its centre", ROOM_AT_CENTRE, {log_shape: logs(0.1, 20.0)})
    ]
    for d, size in scope.sizes:
        name = f"any phi, d = {d}, n_+ = {size}"
        shaped = {log_shape: math.log((d - 1) / size), phi: QUARTER}
        exact = 4 * noise * sp.sqrt((d - 1 + (ratio * sp.sin(phi)) ** 2) / size)
        planes.append((name, room(), shaped))
        planes.append((f"{name}, slope with phi", room(slope=exact), {phi: QUARTER}))
    for name, expression, more in planes:
        for at_sigma in PANELS:
            box = {log_ratio: logs(*RATIOS), log_sigma: math.log(at_sigma)} | more
            yield Claim(
                "C7",
                f"(5.1), {name}, sigma = {at_sigma:g}",
                lambda e=expression, box=box: certify(  # type: ignore[misc]
                    e, "positive", box, most_parts=scope.parts
                ),
            )


# ---------------------------------------------------------------------------------------- results


def row_of(claim: Claim) -> dict[str, Any]:
    """Prove it; one line of certificates.csv."""
    begin = time.perf_counter()
    found = claim.prove()
    common.note(f"{claim.line} {claim.words}: {found.holds:.6g} / {found.fails:.6g}")
    ends = [f"{name} in [{low:.6g}, {high:.6g}]" for name, (low, high) in found.box.items()]
    false_at = found.counterexample or {}
    return {
        "line": claim.line,
        "claim": claim.words,
        "box": "; ".join(ends),
        "holds": found.holds,
        "fails": found.fails,
        "undecided": 0.0 if found.is_certified else found.undecided,
        "parts": found.parts,
        "false_at": "; ".join(f"{name} = {at:.6g}" for name, at in false_at.items()),
        "seconds": time.perf_counter() - begin,
    }


def judge(rows: Sequence[dict[str, Any]], scope: Scope) -> list[Criterion]:
    """The lines of criterion.md, from the table."""
    lines = []
    for row in rows:
        undecided = float(row["undecided"])
        if row["line"] == "C7":
            text = f"{row['claim']}: share undecided"
            lines.append(common.at_most("C7", text, undecided, scope.undecided))
            continue
        fails = float(row["fails"])
        interval = (fails, fails + undecided)
        text = f"{row['claim']}: share not proved"
        lines.append(common.at_most(row["line"], text, interval[1], 0.0, interval))
    return lines


# ----------------------------------------------------------------------------------------- figure


Cell = dict[str, Any]  # a box of the plane, and which of COLOURS it has


def cells(at_sigma: float, depth: int, size: tuple[int, int] = (20, 6)) -> Iterator[Cell]:
    """(5.1) on cells of the plane (log kappa/sigma, phi), halved where undecided."""
    d, size_of_class = size
    fixed = {log_sigma: math.log(at_sigma), log_shape: math.log((d - 1) / size_of_class)}
    expression = room()
    left = [(logs(*RATIOS), QUARTER, 0)]
    while left:
        across, up, level = left.pop()
        box = fixed | {log_ratio: across, phi: up}
        found = certify(expression, "positive", box, most_parts=1)
        decided = "holds" if found.holds == 1.0 else "fails" if found.fails == 1.0 else ""
        if decided or level == depth:
            yield {
                "sigma": at_sigma,
                "log_ratio_low": across[0],
                "log_ratio_high": across[1],
                "phi_low": up[0],
                "phi_high": up[1],
                "found": decided or "undecided",
            }
            continue
        middle, centre = sum(across) / 2, sum(up) / 2
        left += [
            (one, other, level + 1)
            for one in ((across[0], middle), (middle, across[1]))
            for other in ((up[0], centre), (centre, up[1]))
        ]


def draw_figure(results: Path) -> Any:
    """The plane (kappa/sigma, phi) for some sigma."""
    found = common.read_rows(results / "cells.csv")
    from matplotlib.collections import PatchCollection
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch, Rectangle

    figure, rows = common.new_figure(2, 2, width=4.4, height=3.4)
    for panel, at_sigma in zip(rows.flat, PANELS, strict=True):
        for kind, colour in COLOURS.items():
            boxes = [
                Rectangle(
                    (math.exp(cell["log_ratio_low"]), cell["phi_low"]),
                    math.exp(cell["log_ratio_high"]) - math.exp(cell["log_ratio_low"]),
                    cell["phi_high"] - cell["phi_low"],
                )
                for cell in found
                if (cell["sigma"], cell["found"]) == (at_sigma, kind)
            ]
            panel.add_collection(PatchCollection(boxes, facecolor=colour, edgecolor="none"))
        d, size = 20, 6
        points = [0.1 * 100.0 ** (k / 200) for k in range(201)]
        centre = [math.atan(math.sqrt((d - 1) / size) / x) for x in points]
        panel.plot(points, centre, color="k", linewidth=1.2)
        panel.set(xscale="log", xlim=RATIOS, ylim=QUARTER, title=rf"$\sigma={at_sigma:g}$")
        panel.set(xlabel=r"$\kappa/\sigma$", ylabel=r"$\varphi$ (rad)")
    names = ("(5.1) holds: an interior optimum", "(5.1) is false: none", "undecided")
    handles: list[Any] = [
        Patch(color=colour, label=name)
        for name, colour in zip(names, COLOURS.values(), strict=True)
    ]
    handles.append(Line2D([], [], color="k", linewidth=1.2, label=r"centre of $\varphi$"))
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize="small")
    figure.suptitle("Where OA + $g$ has an interior optimum: $d=20$, $n_+=6$, $L=1$", fontsize=11)
    return figure


FIGURES: common.Figures = {"figure.png": draw_figure}


def main() -> None:
    """Run the study."""
    chosen = common.arguments(__file__, str(__doc__))
    scope = QUICK if chosen.quick else FULL
    begin = time.perf_counter()
    claims = [*monotone_claims(), *optimum_claims(), *elementary_claims(), *regions(scope)]
    rows = [row_of(claim) for claim in claims]
    found = [cell for at_sigma in PANELS for cell in cells(at_sigma, scope.depth)]
    common.save_rows(chosen.output / "certificates.csv", rows)
    common.save_rows(chosen.output / "cells.csv", found)
    common.save_figures(chosen.output, FIGURES)
    measured = {
        "holds": {row["claim"]: row["holds"] for row in rows if row["line"] == "C7"},
        "cells_of_the_figure": len(found),
        "minutes": (time.perf_counter() - begin) / 60.0,
    }
    common.record(
        chosen,
        "certified_signs",
        scope._asdict(),
        measured,
        judge(rows, scope),
        ["sympy", "python-flint"],
    )


if __name__ == "__main__":
    main()
