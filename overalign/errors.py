"""Named exceptions: each message says what failed, where, by how much, and what to do."""

from __future__ import annotations

__all__ = [
    "ClaimError",
    "ConfigError",
    "DataFileError",
    "DerivationError",
    "EnclosureError",
    "OutputError",
    "OveralignError",
    "ProblemError",
    "RunError",
    "SamplingError",
    "ScopeError",
    "ToleranceError",
]


class OveralignError(Exception):
    """Base of every error this package raises on purpose.

    Examples
    --------
    >>> from overalign.errors import OveralignError, ProblemError
    >>> issubclass(ProblemError, OveralignError)
    True
    """


class ProblemError(OveralignError, ValueError):
    """Data, labels, a network or a loss cannot be used as given.

    Examples
    --------
    >>> from overalign.errors import ProblemError
    >>> from overalign.problem import Sample
    >>> try:
    ...     Sample([[1.0, float("nan")]], [1])
    ... except ProblemError as error:
    ...     print(error)
    x[0, 1] is nan (row 0); remove or repair the row, every number must be finite
    """


class ToleranceError(OveralignError, ValueError):
    """A tolerance is not positive, below what float64 can deliver, or too coarse for a run's kinks.

    Examples
    --------
    >>> from overalign.errors import ToleranceError
    >>> issubclass(ToleranceError, ValueError)
    True
    """


class DataFileError(OveralignError, ValueError):
    """A data source does not hold what is expected; the message names what was found.

    Examples
    --------
    >>> from overalign.data import read_sample
    >>> from overalign.errors import DataFileError
    >>> try:
    ...     read_sample("missing.npz")
    ... except DataFileError as error:
    ...     print(error)
    missing.npz: no such file
    """


class EnclosureError(OveralignError, ValueError):
    """An expression cannot be enclosed; the message names the part and the balls that it met.

    Examples
    --------
    >>> import sympy
    >>> from overalign.enclosure import enclose
    >>> from overalign.errors import EnclosureError
    >>> x = sympy.Symbol("x")
    >>> try:
    ...     enclose(sympy.log(x - 2), {"x": 1})
    ... except EnclosureError as error:
    ...     print(error)
    log(x - 2) is undefined or unbounded where x - 2 = -1.0000000
    """


class OutputError(OveralignError, OSError):
    """A result cannot be written or read; the message names the path and what is in the way.

    Examples
    --------
    >>> from overalign.errors import OutputError
    >>> from overalign.records import require_writable
    >>> try:
    ...     require_writable("/missing/folder/flow.nc")
    ... except OutputError as error:
    ...     print(error)
    /missing/folder: the folder does not exist; create it or choose another
    """


class SamplingError(OveralignError, RuntimeError):
    """A conditional sample cannot be drawn; the message gives the acceptance rate met.

    Examples
    --------
    >>> from overalign.errors import SamplingError
    >>> from overalign.problem import GaussianMixture
    >>> mixture = GaussianMixture(20, kappa=0.0, sigma=1.0)
    >>> try:
    ...     mixture.sample_with_report(20, seed=0, separability=0.0, method="rejection")
    ... except SamplingError as error:
    ...     print("accepted 0 of" in str(error))
    True
    """


class ConfigError(OveralignError, ValueError):
    """A config has an unknown key, a wrong type or a value out of range; the message names it.

    Examples
    --------
    >>> from overalign.errors import ConfigError
    >>> issubclass(ConfigError, ValueError)
    True
    """


class RunError(OveralignError, RuntimeError):
    """Runs failed; the message gives the first reason, where it is kept, and how to go on.

    Examples
    --------
    >>> from overalign.errors import RunError
    >>> issubclass(RunError, RuntimeError)
    True
    """


class DerivationError(OveralignError, ArithmeticError):
    """A step of a derivation does not hold, or its sign is not decided; the message names it.

    Examples
    --------
    >>> from overalign.derivation import Derivation
    >>> from overalign.errors import DerivationError
    >>> try:
    ...     Derivation("a false one").equal("one is two", 1, 2)
    ... except DerivationError as error:
    ...     print(error)
    one is two: 1 and 2 are not found equal
    """


class ScopeError(OveralignError, ValueError):
    """A statement says nothing about a problem; the message gives the reason.

    Examples
    --------
    >>> from overalign.errors import ScopeError
    >>> issubclass(ScopeError, ValueError)
    True
    """


class ClaimError(OveralignError, LookupError):
    """A claim, its ledger or its record is missing or cannot be read; the message says where.

    Examples
    --------
    >>> from overalign.claims import find_claims
    >>> from overalign.errors import ClaimError
    >>> try:
    ...     find_claims({}, ["Y1"])
    ... except ClaimError as error:
    ...     print(error)
    there is no claim 'Y1'; the ledger is empty
    """
