"""Claims of the theory, the studies that decide them, and what the studies found.

``validation/ledger.toml`` of a checkout names the claims; each is decided by some numbered lines of
one study under ``validation/``, whose ``results/summary.json`` is the record. `verify` runs the
studies anew.
"""

from .ledger import (
    Claim,
    Finding,
    Line,
    Tier,
    adjusted,
    find_checkout,
    find_claims,
    finding,
    read_ledger,
    recorded,
)
from .studies import Study, Verified, record, verify

__all__ = [
    "Claim",
    "Finding",
    "Line",
    "Study",
    "Tier",
    "Verified",
    "adjusted",
    "find_checkout",
    "find_claims",
    "finding",
    "read_ledger",
    "record",
    "recorded",
    "verify",
]
