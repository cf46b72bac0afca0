"""Draw the pictures of README.md: python docs/make_figures.py"""

from pathlib import Path
from tempfile import TemporaryDirectory

from overalign.cli import (
    FlowOptions,
    SweepOptions,
    UCurveOptions,
    report_sweep,
    report_ucurve,
    run_flow,
)

IMAGES = Path(__file__).parent / "images"
PICTURES = {
    "ucurve.png": "ucurve.png",
    "flow_digits.png": "flow_digits.png",
    "sweep.png": "sweep/u_curve.png",
}


def main() -> None:
    """Run what the README's commands run, and keep their figures."""
    IMAGES.mkdir(exist_ok=True)
    with TemporaryDirectory() as folder:
        place = Path(folder)
        codes = [
            report_ucurve(UCurveOptions(output=place)),
            run_flow(FlowOptions(data="digits:3,8", output=place, name="flow_digits")),
            report_sweep(SweepOptions(output=place / "sweep")),
        ]
        if any(codes):
            raise SystemExit(max(codes))
        for name, drawn in PICTURES.items():
            (IMAGES / name).write_bytes((place / drawn).read_bytes())


if __name__ == "__main__":
    main()
