"""The functions of formulas in as many digits as mpmath is set to, by other means than ours."""

from typing import Any

import mpmath


def survival_of_t(x: Any, nu: Any, tau: Any) -> Any:
    """P((z + tau) / sqrt(chi^2_nu / nu) > x), integrated over chi."""

    def part(c: Any) -> Any:
        chance = mpmath.ncdf(tau - x * c / mpmath.sqrt(nu))
        return chance * c ** (nu - 1) * mpmath.exp(-c * c / 2)

    norm = mpmath.mpf(2) ** (nu / 2 - 1) * mpmath.gamma(nu / 2)
    middle, reach = mpmath.sqrt(nu), 14
    points = [max(0, middle - reach), middle, middle + reach]
    return mpmath.quad(part, points, maxdegree=9) / norm


def cdf_of_f(x: Any, m: Any, n: Any, nu: Any) -> Any:
    """A Poisson mixture of incomplete beta functions."""
    share = m * x / (m * x + n)

    def term(j: Any) -> Any:
        weight = mpmath.exp(-nu / 2 + j * mpmath.log(nu / 2) - mpmath.loggamma(j + 1)) if nu else 0
        return weight * mpmath.betainc(m / 2 + j, n / 2, 0, share, regularized=True)

    if not nu:
        return mpmath.betainc(m / 2, n / 2, 0, share, regularized=True)
    return mpmath.nsum(term, [0, mpmath.inf], method="d")


def optimal_cone_angle(r: Any, phi: Any, a: Any) -> Any:
    """The root in delta = phi - theta, by bisection."""
    low, high = mpmath.mpf(0), phi
    for _ in range(int(3.4 * mpmath.mp.dps) + 10):
        delta = (low + high) / 2
        pull = r * mpmath.sin(delta) * mpmath.npdf(r * mpmath.cos(delta))
        below = pull < a * mpmath.cos(phi - delta)
        low, high = (delta, high) if below else (low, delta)
    return phi - low


MANY_DIGITS = [
    {
        "Phi": mpmath.ncdf,
        "NoncentralTSurvival": survival_of_t,
        "NoncentralFCdf": cdf_of_f,
        "OptimalConeAngle": optimal_cone_angle,
    },
    "mpmath",
]
