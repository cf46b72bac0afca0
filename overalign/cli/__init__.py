"""The command line: sweeps, flows, and the statements of the theory.

Everything heavy is imported where it is used, so that ``overalign --help`` answers at once.
Exit codes: 0 done, 1 not all was reached (``COMMAND --help`` says what), 2 the request cannot be
met, 130 interrupted.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import tyro

from ..deepnet.settings import Sweep
from ..errors import OveralignError
from ..records import read_config
from ..ucurve import UCurve
from .flow import FlowOptions, run_flow
from .judge import JudgeOptions, run_judge
from .plot import PlotOptions, run_plot
from .report import ReportOptions, run_report
from .shared import INTERRUPTED, NOT_REACHED, REFUSED
from .statements import (
    CheckOptions,
    SearchOptions,
    ShowOptions,
    StatementsOptions,
    run_check,
    run_search,
    run_show,
    run_statements,
)
from .sweep import SweepOptions, report_sweep
from .ucurve import UCurveOptions, report_ucurve
from .verify import VerifyOptions, report_verify

__all__ = [
    "CheckOptions",
    "FlowOptions",
    "JudgeOptions",
    "PlotOptions",
    "ReportOptions",
    "SearchOptions",
    "ShowOptions",
    "StatementsOptions",
    "SweepOptions",
    "UCurveOptions",
    "VerifyOptions",
    "main",
    "report_sweep",
    "report_ucurve",
    "report_verify",
    "run_check",
    "run_flow",
    "run_judge",
    "run_plot",
    "run_report",
    "run_search",
    "run_show",
    "run_statements",
]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the process unless given.

    Raises
    ------
    SystemExit
        Always, with the exit code.

    Examples
    --------
    >>> try:
    ...     main(["--version"])
    ... except SystemExit as stop:
    ...     print("exit code", stop.code)
    overalign 0...
    exit code 0
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # formulas have letters that a terminal may lack
    try:
        sys.exit(_dispatch(given))
    except OveralignError as error:
        _refuse(str(error))
    except MemoryError as error:
        _refuse(f"not enough memory ({error}); lower the number of samples or the width")
    except BrokenPipeError:  # `overalign flow | head`
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        sys.exit(NOT_REACHED)
    except KeyboardInterrupt:
        print("interrupted; nothing was left half-written", file=sys.stderr)
        sys.exit(INTERRUPTED)


def _refuse(message: str) -> None:
    """One line on stderr, and out."""
    print("overalign: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(REFUSED)


def _dispatch(arguments: list[str]) -> int:
    if arguments == ["--version"]:
        from overalign import __version__

        print(f"overalign {__version__}")
        return 0
    options = _parsed(arguments, Sweep())
    if isinstance(options, SweepOptions) and (path := options.config_path()) is not None:
        options = _parsed(arguments, read_config(Sweep, path))
    run = _COMMANDS[type(options)]
    return run(options)


def _parsed(arguments: list[str], sweep: Sweep) -> Any:
    """The options of a command, those of ``sweep`` beginning with the given defaults."""
    return tyro.cli(
        _commands(arguments, sweep),
        prog="overalign",
        description="The theory of feature-learning strength, held against measurements. "
        "--version prints the version; COMMAND --help explains a command.",
        args=arguments or ["--help"],
    )


_COMMANDS: dict[type, Callable[[Any], int]] = {
    FlowOptions: run_flow,
    VerifyOptions: report_verify,
    ReportOptions: run_report,
    PlotOptions: run_plot,
    UCurveOptions: report_ucurve,
    SweepOptions: report_sweep,
    JudgeOptions: run_judge,
    StatementsOptions: run_statements,
    ShowOptions: run_show,
    CheckOptions: run_check,
    SearchOptions: run_search,
}


def _commands(arguments: list[str], sweep: Sweep) -> Any:
    """The commands as a type that tyro reads; `--config FILE` replaces the defaults of ucurve."""
    single, sub = tyro.conf.FlagCreatePairsOff, tyro.conf.subcommand
    start = UCurveOptions(settings=_settings(arguments))
    return (
        Annotated[VerifyOptions, sub("verify"), single]
        | Annotated[ReportOptions, sub("report"), single]
        | Annotated[PlotOptions, sub("plot"), single]
        | Annotated[UCurveOptions, sub("ucurve", default=start), single]
        # a flag of a file can be taken back on the command line: --bias and --no-bias
        | Annotated[SweepOptions, sub("sweep", default=SweepOptions(settings=sweep))]
        | Annotated[JudgeOptions, sub("judge"), single]
        | Annotated[FlowOptions, sub("flow"), single]
        | Annotated[StatementsOptions, sub("statements"), single]
        | Annotated[ShowOptions, sub("show"), single]
        | Annotated[CheckOptions, sub("check"), single]
        | Annotated[SearchOptions, sub("search"), single]
    )


def _settings(arguments: list[str]) -> UCurve:
    """The defaults of ``ucurve``: those of a file, if one is named."""
    for place, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if arguments[0] == "ucurve" and name == "--config":
            following = arguments[place + 1 : place + 2]
            if equals or following:
                return read_config(UCurve, value if equals else following[0])
    return UCurve()
