"""The U-curve of real training on handwritten digits; see criterion.md."""

from __future__ import annotations

import msgspec

from validation import common, u_curves

STUDY = "u_curve_digits"


FIGURES = u_curves.FIGURES


def main() -> None:
    """Run the study."""
    chosen = common.arguments(__file__, str(__doc__))
    settings = u_curves.settings_of(STUDY)
    if chosen.quick:
        settings = u_curves.quick(settings, n=100)
    table, seconds = u_curves.swept(settings, STUDY, small=chosen.quick)
    common.save_rows(chosen.output / "runs.csv", u_curves.rows_of(table))
    u_curves.save_learning_curves(chosen.output, table)
    criteria = [
        *u_curves.judge(table, settings),
        *u_curves.judge_size("C7", table, settings),
    ]
    measured = u_curves.reported(table) | {"seconds": seconds}
    common.record(
        chosen,
        STUDY,
        msgspec.to_builtins(settings),
        measured,
        criteria,
        ["torch", "xarray", "scikit-learn"],
    )
    common.save_figures(chosen.output, FIGURES)


if __name__ == "__main__":
    main()
