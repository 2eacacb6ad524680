"""The one place that makes chance, always from a seed, so that every run can be repeated."""

from random import Random

__all__ = ["Random", "seeded"]


def seeded(seed: int) -> Random:
    """A generator whose draws depend on `seed` alone. For simulations, never for secrets."""
    return Random(seed)
