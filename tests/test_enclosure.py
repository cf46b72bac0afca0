"""Enclosures contain what they must, certificates add up, and what is undefined is named."""

import math
import threading
import time
from fractions import Fraction
from typing import Any

import flint
import mpmath
import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from many_digits import MANY_DIGITS
from sympy.codegen.cfunctions import expm1, log1p

from overalign.enclosure import ARB_FORMS, Enclosure, certify, certify_monotone, enclose
from overalign.errors import EnclosureError
from overalign.special import NoncentralFCdf, NoncentralTSurvival, OptimalConeAngle, Phi
from overalign.statements import REGISTRY, Statement
from overalign.testing import statement_parameters

EPSILON = float(np.finfo(float).eps)
x, y, z = sympy.symbols("x y z", real=True)
positive = sympy.Symbol("positive", nonnegative=True)


# ------------------------------------------------------------------------------- references


def exactly(number: Any) -> Fraction:
    """The rational number that an mpmath number is."""
    sign, mantissa, exponent, _ = number._mpf_
    return Fraction(-int(mantissa) if sign else int(mantissa)) * Fraction(2) ** int(exponent)


def requires_closeness(found: Enclosure, reference: Any, digits: int) -> None:
    """The reference, in more digits, lies in the ball blown up by its own error."""
    with flint.ctx.workprec(4000):
        ratio = exactly(reference)
        exact = flint.arb(flint.fmpq(ratio.numerator, ratio.denominator))
        error = flint.arb(0, abs(exact) * flint.arb(10) ** -digits)
        assert (exact + error).overlaps(found.ball), (found, mpmath.nstr(reference, 40))


# ------------------------------------------------------------------------------- statements


LAWS = {"class_mean_angle", "pair_violates", "pair_violates_at_zero", "sample_is_separable"}
FORMULAS = {name: statement for name, statement in REGISTRY.items() if name not in LAWS}


@pytest.mark.parametrize("statement", FORMULAS.values(), ids=list(FORMULAS))
@settings(max_examples=15)
@given(data=st.data())
def test_statements_are_enclosed(statement: Statement, data: st.DataObject) -> None:
    values = data.draw(statement_parameters(statement))
    found = enclose(statement.expression, values)
    symbols = [quantity.symbol for quantity in statement.quantities]
    function = sympy.lambdify(symbols, statement.expression, MANY_DIGITS)
    with mpmath.workdps(50 + 2 * found.digits):  # differences cancel as many as the balls lost
        point = [mpmath.mpf(values[quantity.name]) for quantity in statement.quantities]
        requires_closeness(found, mpmath.re(function(*point)), 45)
    assert found.low <= found.high
    if found.digits < 60 and abs(found.low) < 1e300:  # otherwise ill-conditioned, or no float
        close = {"rel": 1e-9, "abs": 1e-300}
        assert statement(**values) == pytest.approx(0.5 * (found.low + found.high), **close)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("class_mean_angle", {"phi": 0.57, "dimension": 20, "class_size": 5, "kappa": 3}),
        ("class_mean_angle", {"phi": 2.5, "dimension": 5, "class_size": 2, "kappa": 0.3}),
        ("class_mean_angle", {"phi": 1.0, "dimension": 2, "class_size": 2, "kappa": 0}),
        ("pair_violates", {"kappa": 3, "dimension": 20, "separability": 0}),
        ("pair_violates", {"kappa": 0, "dimension": 7, "separability": 0.3}),
        ("pair_violates", {"kappa": 6, "dimension": 50, "separability": 0.05}),
        ("pair_violates", {"kappa": 2, "dimension": 1, "separability": 0.5}),
        ("pair_violates_at_zero", {"kappa": 1.5, "dimension": 3}),
        ("sample_is_separable", {"kappa": 4, "dimension": 20, "separability": 0, "n": 10}),
    ],
)
def test_laws_are_enclosed(name: str, values: dict[str, float]) -> None:
    statement = REGISTRY[name]
    values = {key: float(value) for key, value in values.items()} | {"sigma": 1.0}
    found = enclose(statement.expression, values)
    symbols = [quantity.symbol for quantity in statement.quantities]
    function = sympy.lambdify(symbols, statement.expression, MANY_DIGITS)
    with mpmath.workdps(50):
        point = [mpmath.mpf(values[quantity.name]) for quantity in statement.quantities]
        requires_closeness(found, function(*point), 28)
    assert statement(**values) == pytest.approx(found.low, rel=1e-9)


def test_a_law_with_a_large_noncentrality() -> None:
    begin = time.perf_counter()
    law = NoncentralFCdf(x, 2, 2, z)
    rest = sympy.exp(-z / 4) / 2  # of two exponential laws: e^(-z s / 2) s / (s + 1) at s = 1/2
    ball = enclose(law / rest, {x: 1, z: 720_000}).ball
    assert ball.overlaps(flint.arb(1)), ball
    assert ball.rad() < 1e-30
    assert time.perf_counter() - begin < 5


def test_laws_in_closed_form() -> None:
    cauchy = sympy.Rational(1, 2) - sympy.atan(x) / sympy.pi
    for at in (-3, "-0.25", 0, "1e-20", 7, 10**6):
        assert overlap(NoncentralTSurvival(x, 1, 0), cauchy, {x: at})
    for at in ("0.01", 1, 40):
        assert overlap(NoncentralFCdf(x, 2, 2, 0), x / (1 + x), {x: at})
    assert overlap(NoncentralTSurvival(0, 5, x), Phi(x), {x: -30})


def overlap(one: Any, other: Any, values: Any) -> bool:
    return bool(enclose(one, values).ball.overlaps(enclose(other, values).ball))


def test_laws_on_intervals_are_monotone_and_degrees_are_points() -> None:
    box = {x: (0.5, 1.5), y: (1, 2)}
    tail = NoncentralTSurvival(x, 4, y)
    wide = enclose(tail, box)
    assert wide.low == pytest.approx(enclose(tail, {x: 1.5, y: 1}).low, rel=1e-8)
    assert wide.high == pytest.approx(enclose(tail, {x: 0.5, y: 2}).high, rel=1e-8)
    wide = enclose(NoncentralFCdf(x, 4, 6, y), box)
    assert wide.low == pytest.approx(enclose(NoncentralFCdf(0.5, 4, 6, 2), {}).low, rel=1e-8)
    with pytest.raises(EnclosureError, match=r"degrees of freedom are single numbers"):
        enclose(NoncentralFCdf(1, x, 4, 2), {x: (2, 3)})


# -------------------------------------------------------------------------------- intervals

ON_INTERVALS = [
    (x * y - y**2 / (1 + x**2), (-2, 2), (-2, 3)),
    (sympy.sin(x) * sympy.cos(3 * y), (-4, 4), (0, 2)),
    (sympy.sqrt(1 - x) + sympy.log(y), (-1, 1), (0.1, 2)),
    (sympy.cot(x) + sympy.acos(y), (0.1, 3.1), (-1, 1)),
    (sympy.asin(x) * sympy.atan(y), (-1, 1), (-5, 5)),
    (expm1(x) * log1p(y), (-3, 3), (-0.9, 4)),
    (sympy.Max(x, y, 0) - sympy.Min(x, y**3), (-2, 2), (-2, 2)),
    (sympy.Abs(x) + sympy.sign(y) * sympy.Heaviside(x), (-1, 1), (-1, 1)),
    (Phi(x) - sympy.erf(y) + sympy.erfc(x * y), (-3, 3), (-2, 2)),
    (sympy.Piecewise((x, x < y), (sympy.exp(-x), True)), (-1, 1), (-1, 1)),
    ((2 + x) ** y + sympy.tanh(x) ** 3, (-1, 1), (-2, 2)),
    ((2 + x) ** sympy.Rational(-2, 3) * y**-2, (-1, 1), (0.5, 2)),
    (OptimalConeAngle(2 + x, 1, y), (-0.5, 0.5), (0.001, 0.01)),
]


@pytest.mark.parametrize(("expression", "first", "second"), ON_INTERVALS, ids=str)
@settings(max_examples=15)
@given(data=st.data())
def test_points_lie_in_the_enclosure_of_their_box(
    expression: Any, first: Any, second: Any, data: st.DataObject
) -> None:
    sides = {}
    for symbol, (low, high) in ((x, first), (y, second)):
        a, b = sorted(data.draw(st.tuples(*[st.floats(low, high)] * 2)))
        sides[symbol] = (a, b)
    point = {symbol: data.draw(st.floats(*side)) for symbol, side in sides.items()}
    try:
        box = enclose(expression, sides)
    except EnclosureError:  # the base of a power meets zero
        return
    inner = enclose(expression, point)
    assert box.ball.contains(inner.ball) or box.ball.overlaps(inner.ball)
    assert box.low <= inner.high
    assert inner.low <= box.high


def test_enclosures_of_intervals_are_narrow() -> None:
    assert enclose(x**2, {x: (-1, 2)}).low == 0.0
    assert enclose(x**2, {x: (-1, 2)}).high == pytest.approx(4)
    assert enclose(sympy.sin(x), {x: (0, 3)}).low == 0.0
    assert enclose(sympy.cos(x), {x: (0.5, 1.5)}).high == pytest.approx(math.cos(0.5))
    assert enclose(sympy.sqrt(1 - x), {x: (0.3, 1)}).low == 0.0
    assert enclose(Phi(x), {x: (-40, 1)}).low == 0.0
    assert enclose(-Phi(x), {x: (-40, 1)}).high == 0.0
    assert enclose(Phi(x), {x: (-3, 1)}).low == pytest.approx(enclose(Phi(-3), {}).low, rel=1e-6)
    assert enclose(x * y, {x: (0, 1), y: (0, 5)}).low == 0.0
    assert enclose(x, {x: (0, sympy.pi)}).high == pytest.approx(math.pi)


def test_roots_are_clipped_only_where_the_base_is_known() -> None:
    slightly = sympy.sin(positive) ** 2
    assert enclose(sympy.sqrt(positive), {positive: (0, 1 / 3)}).low == 0.0
    assert enclose(sympy.sqrt(slightly), {positive: 0}).low == 0.0
    assert enclose(sympy.sqrt((1 - x) * (1 + x)), {x: 1}).contains(0)
    with pytest.raises(EnclosureError, match=r"sqrt\(x - 1\) is undefined .* where x - 1 = "):
        enclose(sympy.sqrt(x - 1), {x: (0.5, 2)})


# ------------------------------------------------------------------------------- exactness


def test_numbers_are_what_they_say() -> None:
    third = enclose(sympy.Rational(1, 3), {}, digits=100)
    assert third.contains(Fraction(1, 3))
    assert not third.contains(1 / 3)
    assert float(third.ball.rad()) < 1e-100
    assert enclose(x, {x: "0.1"}).contains(Fraction(1, 10))
    assert not enclose(x, {x: 0.1}).contains(Fraction(1, 10))
    assert enclose(x, {x: 0.1}).contains(0.1)
    assert enclose(x, {"x": np.float64(0.1)}).contains(Fraction(0.1))
    assert enclose(sympy.Float(0.1) * x, {x: 1}).contains(Fraction(0.1))
    assert enclose(x, {x: Fraction(2, 7)}).contains(sympy.Rational(2, 7))
    assert enclose(x, {x: sympy.sqrt(2)}).low == math.sqrt(2) - 2**-52  # sqrt rounds upwards


def test_ends_are_rounded_outward() -> None:
    tenth = enclose(x, {x: "0.1"})
    assert Fraction(tenth.low) < Fraction(1, 10) < Fraction(tenth.high)
    assert math.nextafter(tenth.low, 1) == tenth.high
    tiny, huge = enclose(sympy.exp(x), {x: -5000}), enclose(sympy.exp(x), {x: 5000})
    assert (tiny.low, tiny.high) == (0.0, 5e-324)
    assert (huge.low, huge.high) == (np.finfo(float).max, math.inf)
    assert (-1 * huge.high, enclose(-sympy.exp(x), {x: 5000}).low) == (-math.inf, -math.inf)


def test_the_tails_keep_their_digits() -> None:
    with mpmath.workdps(60):
        tail = mpmath.erfc(600 / mpmath.sqrt(2)) / 2
    requires_closeness(enclose(Phi(x), {x: -600}), tail, 50)
    assert enclose(Phi(x), {x: -600}).ball.rel_accuracy_bits() > 99


def test_a_value_that_is_zero() -> None:
    over_alignment = REGISTRY["over_alignment"].expression
    zero = enclose(over_alignment, {"kappa": 3, "sigma": 1, "phi": "0.3", "theta_c": "0.3"})
    assert zero.low <= 0.0 <= zero.high
    assert zero.ball.rad() < flint.arb(10) ** -900
    assert zero.width < 1e-300


# ---------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("expression", "values", "says"),
    [
        (sympy.log(x - 2), {x: 1}, r"log\(x - 2\) is undefined or unbounded where x - 2 = -1\.0"),
        (1 + 1 / (x - y), {x: (0, 1), y: 1}, r"1/\(x - y\) is undefined"),
        (sympy.exp(sympy.sqrt(x)), {x: -1}, r"sqrt\(x\) is undefined"),
        (sympy.acos(x), {x: 1.5}, r"acos\(x\) is undefined"),
        (x + y, {x: 1}, r"no value for y"),
        (x, {x: math.nan}, r"x is nan, expected a finite number"),
        (x, {x: (0, math.inf)}, r"x is inf, expected a finite number"),
        (x, {x: "one"}, r"x is 'one', expected"),
        (x, {x: (2, 1)}, r"the low end comes first"),
        (x, {x: (1, 2, 3)}, r"an interval has two ends"),
        (sympy.gamma(x), {x: 1}, r"gamma has no form in balls; add one to ARB_FORMS"),
        (sympy.Piecewise((1, x > 2)), {x: 1}, r"is undefined"),
    ],
)
def test_errors_name_the_part(expression: Any, values: Any, says: str) -> None:
    with pytest.raises(EnclosureError, match=says):
        enclose(expression, values)


def test_giving_up_says_where() -> None:
    with pytest.raises(EnclosureError, match=r"gave up at 60 digits with .*the 50 digits"):
        enclose(sympy.exp(x) - 1, {x: "1e-40"}, digits=50, most_digits=60)


@pytest.mark.parametrize("form", [f for f in ARB_FORMS if issubclass(f, sympy.Function)], ids=str)
def test_what_is_not_a_number_stays_so(form: Any) -> None:
    arity = {NoncentralFCdf: 4, NoncentralTSurvival: 3, OptimalConeAngle: 3, sympy.Heaviside: 2}
    arguments = [flint.arb.nan()] + [flint.arb(2)] * (arity.get(form, 1) - 1)
    assert ARB_FORMS[form](*arguments).is_nan()


def test_a_function_is_added_by_an_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    class Doubled(sympy.Function):  # type: ignore[misc]
        pass

    with pytest.raises(EnclosureError, match="Doubled has no form in balls"):
        enclose(Doubled(x), {x: 1})
    monkeypatch.setitem(ARB_FORMS, Doubled, lambda ball: 2 * ball)
    assert enclose(Doubled(x), {x: 1}).contains(2)


def test_a_branch_not_taken_may_be_undefined() -> None:
    logarithm = sympy.Piecewise((sympy.log(x), x > 0), (0, True))
    assert enclose(logarithm, {x: -1}).contains(0)
    assert certify(logarithm + 1, "positive", {x: (-1, -0.5)}).is_certified


def test_the_precision_is_left_as_it_was() -> None:
    before = flint.ctx.prec
    enclose(sympy.exp(x), {x: 1}, digits=200)
    certify(x, "positive", {x: (1, 2)}, digits=50)
    with pytest.raises(EnclosureError):
        enclose(sympy.log(x), {x: -1}, digits=200)
    assert flint.ctx.prec == before


def test_threads_do_not_disturb_each_other() -> None:
    before, radii = flint.ctx.prec, []

    def work(digits: int) -> None:
        for _ in range(20):
            ball = enclose(sympy.exp(x) + Phi(x), {x: 1}, digits=digits).ball
            radii.append(float(ball.rad()) < 10.0 ** (2 - digits))

    threads = [threading.Thread(target=work, args=(digits,)) for digits in (20, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(radii) == 40
    assert all(radii)
    assert flint.ctx.prec == before


# ----------------------------------------------------------------------------- certificates


def test_a_true_claim_is_certified() -> None:
    found = certify(sympy.tanh(x) - x, "negative", {x: (0.1, 5)}, claim="tanh x < x")
    assert found.is_certified
    assert found.claim == "tanh x < x"
    assert str(found).startswith("certified: tanh x < x on 0.1 <= x <= 5\nholds on 100 %")
    assert certify(x * y, "nonnegative", {x: (0, 1), y: (0, 1 / 3)}).is_certified
    assert certify(x - x**3, "positive", {x: 0.5}).parts == 1


def test_a_false_claim_has_a_counterexample_and_its_share() -> None:
    found = certify(x + y, "positive", {x: (-1, 1), y: (-1, 1)})
    assert found.holds == pytest.approx(0.5, abs=0.002)
    assert found.fails == pytest.approx(0.5, abs=0.002)
    assert found.holds + found.fails + found.undecided == pytest.approx(1, abs=1e-12)
    assert not found.is_certified
    assert found.counterexample is not None
    assert found.counterexample["x"] + found.counterexample["y"] < 0
    assert 0 < len(found.undecided_boxes) <= 20
    low, high = found.undecided_boxes[0]["x"]
    assert high - low <= 0.01
    assert "false at x = " in str(found)


@pytest.mark.parametrize("sign", ["positive", "negative", "nonnegative", "nonpositive"])
@settings(max_examples=10)
@given(data=st.data())
def test_shares_agree_with_samples(sign: Any, data: st.DataObject) -> None:
    a, b = data.draw(st.tuples(st.floats(-1, 1), st.floats(-2, 2)))
    expression = sympy.sin(3 * x + a) * y - b * x**2 + a
    found = certify(expression, sign, {x: (-1, 1), y: (0, 2)}, most_parts=300)
    u, v = np.meshgrid(np.linspace(-1, 1, 201), np.linspace(0, 2, 201))
    value = np.sin(3 * u + a) * v - b * u**2 + a
    signed = value if sign in ("positive", "nonnegative") else -value
    share = np.mean(signed > 0)
    assert found.holds - 0.02 <= share <= 1 - found.fails + 0.02


def test_what_is_undefined_is_not_decided() -> None:
    found = certify(1 + sympy.sqrt(x), "positive", {x: (-1, 1)}, most_parts=2000)
    assert found.holds == pytest.approx(0.5, abs=0.01)
    assert found.fails == 0.0
    # the derivative of the logarithm has a sign where the logarithm does not exist
    assert certify_monotone(sympy.log(x), "decreasing", x, {x: (-2, -1)}, most_parts=9).holds == 0


def test_conditions_bound_the_domain() -> None:
    box = {x: (0, 1), y: (0, 1)}
    assert certify(x - y, "positive", box, where=x > y + sympy.Rational(1, 10)).is_certified
    found = certify(x - y, "positive", box, where=[x > y, x < 2])
    assert found.fails == 0.0
    assert 0.99 < found.holds < 1.0
    with pytest.raises(EnclosureError, match="leave nothing"):
        certify(x, "positive", box, where=x > 2)
    with pytest.raises(EnclosureError, match="is not a condition"):
        certify(x, "positive", box, where=x - 2)
    with pytest.raises(EnclosureError, match="no value for z"):
        certify(x, "positive", box, where=x > z)
    with pytest.raises(EnclosureError, match="sign is 'up'"):
        certify(x, "up", box)  # type: ignore[arg-type]


def test_a_jump_is_not_hidden() -> None:
    jump = sympy.Piecewise((x + 1, x < 0), (x - 1, True))
    found = certify(jump, "positive", {x: (-1, 1)})
    assert found.holds == pytest.approx(0.5, abs=1e-3)
    assert found.fails == pytest.approx(0.5, abs=1e-3)
    with pytest.raises(EnclosureError, match="may jump"):
        certify_monotone(jump, "increasing", x, {x: (-1, 1)})
    found = certify_monotone(x - 3 * sympy.Heaviside(x), "increasing", x, {x: (-1, 1)})
    assert 0.0 < found.undecided < 1e-30
    assert not found.is_certified
    steep = sympy.exp(x) * sympy.sign(y) - 2 * x  # the slope's own slope has the delta's derivative
    assert certify_monotone(steep, "decreasing", x, {x: (0, 0.6), y: (-1, 1)}).holds > 0.99


def test_over_alignment_falls_with_the_cone() -> None:
    over_alignment = REGISTRY["over_alignment"].expression
    phi, theta_c = (REGISTRY["over_alignment"].quantities[k].symbol for k in (2, 3))
    box = {"kappa": (0.5, 5), "sigma": 1, phi: (0.2, 1.4), theta_c: (0, sympy.pi / 2)}
    apart = theta_c <= phi - sympy.Rational(1, 100)
    found = certify_monotone(over_alignment, "decreasing", theta_c, box, where=apart)
    assert found.is_certified, str(found)
    assert certify_monotone(over_alignment, "increasing", "phi", box | {theta_c: 0.1}).is_certified


def test_the_region_of_an_interior_optimum() -> None:
    largest = REGISTRY["largest_slope"].expression
    a = sympy.Symbol("slope", nonnegative=True)
    box = {"kappa": 3, "sigma": 1, "phi": (0.1, 1.5), "slope": (0, 1)}
    found = certify(largest - a, "positive", box, most_parts=4000)
    phi = np.linspace(0.1, 1.5, 20001)
    height = 3 * np.sin(phi) * np.exp(-4.5 * np.cos(phi) ** 2) / math.sqrt(2 * math.pi)
    assert found.undecided < 0.01
    share = np.minimum(height, 1.0).mean()
    assert found.holds <= share + 1e-4
    assert share - 1e-4 <= found.holds + found.undecided
    assert found.holds + found.fails + found.undecided == pytest.approx(1, abs=1e-12)


def test_symbols_that_are_left_out_do_not_count() -> None:
    found = certify(x + 1, "positive", {x: (-2, 2), y: (0, 1)}, most_parts=100)
    assert found.holds == pytest.approx(0.75, abs=1e-3)
    assert found.box["y"] == (0.0, 1.0)


def test_simple_evaluations_are_quick() -> None:
    begin = time.process_time()
    found = certify(x + y, "positive", {x: (-1, 1), y: (-1, 1)}, most_parts=5000)
    assert found.parts / (time.process_time() - begin) > 4000
