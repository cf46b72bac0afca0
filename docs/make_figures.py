"""Draw the pictures of README.md: python docs/make_figures.py"""

from pathlib import Path
from tempfile import TemporaryDirectory

from overalign.cli import FlowOptions, run_flow

IMAGES = Path(__file__).parent / "images"


def main() -> None:
    """Run what the README's first command runs, and keep its figure."""
    with TemporaryDirectory() as folder:
        code = run_flow(FlowOptions(data="digits:3,8", output=Path(folder), name="flow_digits"))
        if code != 0:
            raise SystemExit(code)
        IMAGES.mkdir(exist_ok=True)
        picture = Path(folder, "flow_digits.png").read_bytes()
        (IMAGES / "flow_digits.png").write_bytes(picture)


if __name__ == "__main__":
    main()
