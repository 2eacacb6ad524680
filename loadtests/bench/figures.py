"""What was measured: figures with all their samples, ratios to a limit, and verdicts."""

from collections.abc import Sequence
from statistics import median, quantiles

import msgspec


class Summary(msgspec.Struct, frozen=True):
    """Samples in short. spread: the middle half of them, as a share of the median."""

    median: float
    min: float
    max: float
    spread: float
    samples: int


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One thing measured several times in one run.

    on: the server or process it was measured on. limit: what it is measured beside, in the same
    rounds; ratios: sample by sample, this figure over the limit.
    """

    section: str
    name: str
    unit: str
    samples: list[float]
    on: str = ""
    limit: str = ""
    ratios: list[float] = []
    notes: str = ""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """A target and whether it was met. Not judged (None) when the run was too small to tell."""

    section: str
    target: str
    found: str
    met: bool | None


class Section(msgspec.Struct, frozen=True):
    """What one part of the bench found, with what a reader should know besides."""

    figures: list[Figure]
    verdicts: list[Verdict]
    notes: list[str] = []


def summarise(samples: Sequence[float]) -> Summary:
    """Median, extremes and spread of one or more samples."""
    middle = median(samples)
    if len(samples) < 2 or not middle:
        return Summary(middle, min(samples), max(samples), 0.0, len(samples))
    low, _, high = quantiles(samples, n=4, method="inclusive")
    return Summary(middle, min(samples), max(samples), (high - low) / middle, len(samples))


def over(samples: Sequence[float], limits: Sequence[float]) -> list[float]:
    """Sample by sample, the ratio of two figures taken in the same rounds."""
    return [sample / limit for sample, limit in zip(samples, limits, strict=True)]


def at_most(section: str, what: str, unit: str, most: float, figures: list[Figure]) -> Verdict:
    """Met when the median of every figure is at most `most`; the worst one is named."""
    worst = max(figures, key=lambda figure: median(figure.samples))
    value = median(worst.samples)
    return Verdict(
        section=section,
        target=f"{what} ≤ {most:g} {unit}",
        found=f"at most {value:.3g} {unit} ({worst.name}, {worst.on})",
        met=value <= most,
    )


def at_least(section: str, what: str, unit: str, least: float, figure: Figure) -> Verdict:
    """Met when the median of the figure is at least `least`."""
    value = median(figure.samples)
    return Verdict(
        section=section,
        target=f"{what} ≥ {least:g} {unit}",
        found=f"{value:.0f} {unit}",
        met=value >= least,
    )


def ratio_at_least(section: str, what: str, least: float, figure: Figure) -> Verdict:
    """Met when the median of the ratios to the limit is at least `least`."""
    value = median(figure.ratios)
    return Verdict(
        section=section,
        target=f"{what} ≥ {least:g} of {figure.limit}",
        found=f"{value:.2f}",
        met=value >= least,
    )


def ratio_at_most(section: str, what: str, most: float, figures: list[Figure]) -> Verdict:
    """Met when the median of the ratios of every figure is at most `most`."""
    worst = max(figures, key=lambda figure: median(figure.ratios))
    value = median(worst.ratios)
    return Verdict(
        section=section,
        target=f"{what} ≤ {most:g} × {worst.limit}",
        found=f"at most {value:.2f} × ({worst.name}, {worst.on})",
        met=value <= most,
    )
