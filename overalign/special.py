"""Functions that SymPy lacks, with their derivatives and their numpy forms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import sympy
from sympy.printing.numpy import SciPyPrinter

__all__ = [
    "NOTATION",
    "NoncentralFCdf",
    "NoncentralTSurvival",
    "OptimalConeAngle",
    "Phi",
    "compiled",
    "density",
]


def density(x: Any) -> Any:
    """Density of the standard normal law, as an expression.

    Examples
    --------
    >>> density(sympy.Integer(0))
    sqrt(2)/(2*sqrt(pi))
    """
    return sympy.exp(-(x**2) / 2) / sympy.sqrt(2 * sympy.pi)


class Phi(sympy.Function):  # type: ignore[misc]
    """Distribution function of the standard normal law.

    Examples
    --------
    >>> x = sympy.Symbol("x")
    >>> Phi(x).diff(x).subs(x, 0)
    sqrt(2)/(2*sqrt(pi))
    """

    nargs = (1,)

    def fdiff(self, argindex: int = 1) -> Any:
        """The derivative: the density."""
        return density(self.args[0])

    def _eval_rewrite_as_erfc(self, x: Any, **_: Any) -> Any:
        return sympy.erfc(-x / sympy.sqrt(2)) / 2

    def _eval_evalf(self, prec: int) -> Any:
        return self.rewrite(sympy.erfc)._eval_evalf(prec)

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        text = rf"\Phi\left({printer._print(self.args[0])}\right)"
        return text if exp is None else rf"{text}^{{{exp}}}"


class NoncentralTSurvival(sympy.Function):  # type: ignore[misc]
    """P(T > x) of the noncentral t law with nu degrees of freedom and noncentrality tau.

    Arguments: x, nu, tau.

    Examples
    --------
    >>> import numpy as np
    >>> x = sympy.Symbol("x")
    >>> float(compiled((x,), NoncentralTSurvival(x, 5, 0))(np.array(0.0)))
    0.5
    """

    nargs = (3,)

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        x, nu, tau = (printer._print(argument) for argument in self.args)
        return rf"P\left(t'_{{{nu}}}\left({tau}\right)>{x}\right)"


class NoncentralFCdf(sympy.Function):  # type: ignore[misc]
    """P(F <= x) of the noncentral F law with m and n degrees of freedom and noncentrality nu.

    Arguments: x, m, n, nu.

    Examples
    --------
    >>> import numpy as np
    >>> x = sympy.Symbol("x")
    >>> float(compiled((x,), NoncentralFCdf(x, 4, 4, 0))(np.array(1.0)))
    0.5
    """

    nargs = (4,)

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        x, m, n, nu = (printer._print(argument) for argument in self.args)
        return rf"F_{{{m},{n}}}\left({x};{nu}\right)"


class OptimalConeAngle(sympy.Function):  # type: ignore[misc]
    """The theta in (0, phi) with r sin(phi - theta) pdf(r cos(phi - theta)) = a cos(theta).

    Arguments: r = kappa / sigma, phi < pi / 2, and a, below the left side at theta = 0. The left
    side over cos(theta) falls strictly, to zero at phi, so there is one root (theory.md 5.2).

    Examples
    --------
    >>> import numpy as np
    >>> a = sympy.Symbol("a")
    >>> float(compiled((a,), OptimalConeAngle(3, 0.5, a))(np.array(1e-3)))
    0.43304
    """

    nargs = (3,)

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        r, phi, a = (printer._print(argument) for argument in self.args)
        return rf"\vartheta\left({r},{phi},{a}\right)"


NOTATION = {
    Phi: r"$\Phi$: distribution function of the standard normal law",
    NoncentralTSurvival: r"$t'_\nu(\tau)$: noncentral $t$ law, $\nu$ degrees of freedom, "
    r"noncentrality $\tau$",
    NoncentralFCdf: r"$F_{m,n}(x;\nu)$: distribution function of the noncentral $F$ law, $m$ and "
    r"$n$ degrees of freedom, noncentrality $\nu$",
    OptimalConeAngle: r"$\vartheta(r,\varphi,a)$: the root in $(0,\varphi)$ of "
    r"$r\sin(\varphi-\vartheta)\,p(r\cos(\varphi-\vartheta))=a\cos\vartheta$, $p$ the "
    "standard normal density",
}
"""What the letters of the functions mean, in LaTeX."""


def _optimal_cone_angle(r: Any, phi: Any, a: Any) -> Any:
    """Bisection in delta = phi - theta, on logarithms: the density may underflow."""
    import numpy as np

    r, phi, a = np.broadcast_arrays(r, phi, a)
    low, high = np.zeros(phi.shape), np.array(phi, dtype=np.float64)
    with np.errstate(divide="ignore"):
        for _ in range(100):  # relative accuracy once delta is off zero: halving the bracket
            delta = 0.5 * (low + high)
            pull = np.log(r * np.sin(delta)) - 0.5 * (r * np.cos(delta)) ** 2
            rest = np.log(a * np.cos(phi - delta)) + 0.5 * np.log(2.0 * np.pi)
            below = pull < rest
            low, high = np.where(below, delta, low), np.where(below, high, delta)
    return phi - 0.5 * (low + high)


def _noncentral_t_survival(x: Any, nu: Any, tau: Any) -> Any:
    from scipy.stats import nct

    return nct.sf(x, nu, tau)


def _noncentral_f_cdf(x: Any, m: Any, n: Any, nu: Any) -> Any:
    from scipy.special import ncfdtr

    return ncfdtr(m, n, nu, x)


@lru_cache(maxsize=1024)
def compiled(symbols: tuple[Any, ...], expression: Any) -> Callable[..., Any]:
    """A numpy function of the symbols, in their order; its arguments broadcast.

    Examples
    --------
    >>> import numpy as np
    >>> x, y = sympy.symbols("x y")
    >>> compiled((x, y), sympy.Max(x, y, 0))(np.array([-1.0, 2.0]), -3.0)
    array([0., 2.])
    """
    from scipy.special import ndtr

    own = {
        "Phi": ndtr,
        "OptimalConeAngle": _optimal_cone_angle,
        "NoncentralTSurvival": _noncentral_t_survival,
        "NoncentralFCdf": _noncentral_f_cdf,
    }
    names: list[Any] = [own, "scipy", "numpy"]
    printer = _Printer({"fully_qualified_modules": False, "allow_unknown_functions": True})
    return sympy.lambdify(symbols, expression, names, printer=printer)  # type: ignore[no-any-return]


class _Printer(SciPyPrinter):  # type: ignore[misc]
    """SymPy's own Max and Min of arrays do not broadcast."""

    def _print_Max(self, expr: Any) -> str:
        return self._folded("maximum", expr.args)

    def _print_Min(self, expr: Any) -> str:
        return self._folded("minimum", expr.args)

    def _folded(self, name: str, arguments: Sequence[Any]) -> str:
        text = str(self._print(arguments[0]))
        for argument in arguments[1:]:
            text = f"{self._module_format('numpy.' + name)}({text}, {self._print(argument)})"
        return text
