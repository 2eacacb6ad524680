"""How much is measured: everything at full size, or a smoke run that only shows that it works."""

import msgspec


class Scale(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes of a run. Every figure is taken `rounds` times, its rivals in turn within a round."""

    rounds: int
    holds_a_chunk: int
    """Holds between two looks at Redis's own account of its time."""
    batches: tuple[int, ...]
    live: tuple[int, ...]
    """Live holds at which memory is measured."""
    flat_small: int
    flat_large: int
    flat_rounds: int
    http_rounds: int
    http_s: float
    """Seconds that one HTTP measurement lasts, after `warm_s`."""
    warm_s: float
    deduction_batches: int
    """Full batches in one measurement of the ledger."""
    one_row_commits: int
    fresh_gateways: bool
    """A gateway of its own for each kind of call, so that none inherits another's holds."""


FULL = Scale(
    rounds=15,
    holds_a_chunk=2560,
    batches=(1, 16, 64, 128, 256, 512),
    live=(100_000, 1_000_000),
    flat_small=1_000,
    flat_large=1_000_000,
    flat_rounds=25,
    http_rounds=7,
    http_s=3.0,
    warm_s=0.5,
    deduction_batches=10,
    one_row_commits=200,
    fresh_gateways=True,
)

QUICK = Scale(
    rounds=2,
    holds_a_chunk=256,
    batches=(1, 128),
    live=(1_000, 4_000),
    flat_small=1_000,
    flat_large=5_000,
    flat_rounds=2,
    http_rounds=1,
    http_s=0.25,
    warm_s=0.1,
    deduction_batches=2,
    one_row_commits=20,
    fresh_gateways=False,
)
