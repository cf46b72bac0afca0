"""Solve the two-layer theory at every setting of the study, and keep its curves in the package."""

from overalign.prediction import SOLVED, write_theory_curves
from validation.theory_against_deep_nets.run import FULL, theory_curves

if __name__ == "__main__":
    SOLVED.unlink(missing_ok=True)  # what is there would be taken for solved
    write_theory_curves(SOLVED, theory_curves(FULL))
