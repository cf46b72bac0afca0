"""Distribution functions of balls: the normal law, and mixtures of incomplete beta functions."""

from __future__ import annotations

import math
from typing import Any

from flint import arb, ctx

from ..errors import EnclosureError
from .balls import NAN, ONE, ZERO, between, hull, is_narrow

MOST_TERMS = 5_000_000


def normal_cdf(x: arb) -> arb:
    """Through erfc, which keeps its digits in the tail."""
    return (-x / arb(2).sqrt()).erfc() / 2


def _mixture(rate: arb, shift: Any, a: arb, b: arb, s: arb, rest: arb, upper: bool) -> arb:
    """Sum over j of w_j I_j with w_j = e^-rate rate^(j + shift) / Gamma(j + shift + 1).

    I_j is the regularised incomplete beta function at s with parameters a + j and b or, if upper,
    what it lacks to one; rest = 1 - s. The sum is taken over a window; what lies outside is bounded
    by geometric series.
    """
    with ctx.workprec(ctx.prec + 64):
        if rate.is_zero():
            return ZERO if shift else _beta(a, b, s, rest, upper)
        low, top = _window(float(rate), float(b), float(s), upper)
        summed = _summed_upwards if upper else _summed_downwards
        return summed(rate, arb(shift), a, b, s, rest, low, top)


def _beta(a: arb, b: arb, s: arb, rest: arb, upper: bool) -> arb:
    return rest.beta_lower(b, a, 1) if upper else s.beta_lower(a, b, 1)


def _window(rate: float, b: float, s: float, upper: bool) -> tuple[int, int]:
    """Where the terms are largest, with room for all that the precision can tell.

    I_(j+1) / I_j is about 1 or s (j + b) / j, the smaller one (if upper, the larger one).
    """
    turn = (rate * s + math.sqrt((rate * s) ** 2 + 4 * rate * s * b)) / 2
    peak = max(rate, turn) if upper else min(rate, turn)
    depth = 0.7 * ctx.prec + 20
    reach = math.sqrt(2 * depth * (peak + 1)) + depth
    if not 2 * reach <= MOST_TERMS:
        raise EnclosureError(
            f"a noncentral law needs {2 * reach:.3g} terms, more than {MOST_TERMS}; "
            "lower the noncentrality or the digits"
        )
    return max(0, math.floor(peak - reach)), math.ceil(peak + reach)


def _weight(rate: arb, at: arb) -> arb:
    return (at * rate.log() - rate - (at + 1).lgamma()).exp()


def _difference(c: arb, b: arb, s: arb, rest: arb) -> arb:
    """I_s(c, b) - I_s(c + 1, b)."""
    size = c * s.log() + b * rest.log() + (c + b).lgamma() - (c + 1).lgamma() - b.lgamma()
    return size.exp()


def _summed_downwards(
    rate: arb, shift: arb, a: arb, b: arb, s: arb, rest: arb, low: int, top: int
) -> arb:
    """The mixture of I_j, from the top of the window: every addition is of positive numbers."""
    weight, value = _weight(rate, top + shift), _beta(a + top, b, s, rest, False)
    step = _difference(a + top - 1, b, s, rest)
    end = a + top
    # I_(c+1) / I_c <= s (c + b) / c, and falls with c as rate / j does
    outside = _tail(weight * value, rate / (top + 1 + shift) * ONE.min(s * (end + b) / end))
    total = weight * value
    for j in range(top, low, -1):
        c = a + j - 1
        value += step
        step = step * c / (s * (c - 1 + b))
        weight = weight * (j + shift) / rate
        total += weight * value
    if low:
        ratio = (low + shift) / rate
        if b >= 1:  # I is log-concave in j: a tail sum of differences that are
            outside += _tail(weight * value, ratio * (value + step) / value)
        else:
            outside += _tail(weight, ratio)
    return total + outside


def _summed_upwards(
    rate: arb, shift: arb, a: arb, b: arb, s: arb, rest: arb, low: int, top: int
) -> arb:
    """The mixture of 1 - I_j, from the foot of the window."""
    weight, value = _weight(rate, low + shift), _beta(a + low, b, s, rest, True)
    step = _difference(a + low, b, s, rest)
    outside = ZERO
    if low:
        c = a + low - 1
        # J_c / J_(c+1) <= min(1, c / ((c + b) s)), and rises with c
        ratio = (low + shift) / rate * ONE.min(c / ((c + b) * s))
        outside = _tail(weight * value, ratio)
    total = weight * value
    for j in range(low, top):
        c = a + j
        value += step
        step = step * s * (c + b) / (c + 1)
        weight = weight * rate / (j + 1 + shift)
        total += weight * value
    end = a + top
    # J_(c+1) / J_c <= min((c + b) / c, 1 / J_c), and falls with c
    ratio = rate / (top + 1 + shift) * ((end + b) / end).min(1 / value)
    return total + outside + _tail(weight * value, ratio)


def _tail(last: arb, ratio: arb) -> arb:
    """[0, what follows the last term], where each term is at most ratio times the one before."""
    return between(ZERO, (last * ratio / (1 - ratio)).upper()) if ratio < 1 else NAN


def noncentral_f_cdf(x: arb, m: arb, n: arb, nu: arb) -> arb:
    """Rises with x and falls with the noncentrality."""
    _require_points("NoncentralFCdf", m, n)
    if not (nu.lower() >= 0 and m > 0 and n > 0):
        return NAN
    lowest = _f_cdf_at(x.lower(), m, n, nu.upper())
    if x.is_exact() and nu.is_exact():
        return lowest
    return hull(lowest, _f_cdf_at(x.upper(), m, n, nu.lower()))


def _f_cdf_at(x: arb, m: arb, n: arb, nu: arb) -> arb:
    if not x > 0:
        return ZERO if x <= 0 else NAN
    whole = m * x + n
    return _mixture(nu / 2, 0, m / 2, n / 2, m * x / whole, n / whole, upper=False)


def noncentral_t_survival(x: arb, nu: arb, tau: arb) -> arb:
    """Falls with x and rises with the noncentrality."""
    _require_points("NoncentralTSurvival", nu)
    if not nu > 0:
        return NAN
    lowest = _t_survival_at(x.upper(), nu, tau.lower())
    if x.is_exact() and tau.is_exact():
        return lowest
    return hull(lowest, _t_survival_at(x.lower(), nu, tau.upper()))


def _t_survival_at(x: arb, nu: arb, tau: arb) -> arb:
    if x < 0:
        return 1 - _t_survival_at(-x, nu, -tau)
    if not x > 0:
        return normal_cdf(tau) if x.is_zero() else NAN
    whole = x**2 + nu
    half, law = arb(0.5), (nu / 2, x**2 / whole, nu / whole, True)
    even = _mixture(tau**2 / 2, 0, half, *law)
    odd = _mixture(tau**2 / 2, half, ONE, *law)
    return (even + odd if tau >= 0 else even - odd) / 2


def optimal_cone_angle(r: arb, phi: arb, a: arb) -> arb:
    """The root delta = phi - theta of a function that crosses zero once, upwards, below pi / 2."""
    if a.is_zero():
        return phi

    def lead(delta: arb, rest: arb) -> arb:
        law = (-((r * delta.cos()) ** 2) / 2).exp() / (2 * arb.pi()).sqrt()
        return r * delta.sin() * law - a * rest.cos()

    if not (a > 0 and r > 0 and phi > 0 and phi < arb.pi() / 2 and lead(phi, ZERO) > 0):
        return NAN
    roots = []
    for is_left in (lambda value: value < 0, lambda value: not value > 0):
        low, high = ZERO, phi.upper()
        for _ in range(ctx.prec):
            middle = ((low + high) / 2).mid()
            if is_left(lead(middle, phi - middle)):
                low = middle
            else:
                high = middle
        roots.append((low, high))
    # left of the first low end all points lie below the root, right of the second high end above
    return phi - between(roots[0][0], roots[1][1])


def _require_points(law: str, *degrees: arb) -> None:
    for degree in degrees:
        if not is_narrow(degree):
            raise EnclosureError(
                f"{law}: degrees of freedom are single numbers here, not {degree}; fix them"
            )
