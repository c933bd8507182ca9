"""The checks of a page: each states a number for the fakes, the same number for real images, and a verdict in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ganmetrics.report.findings import CLOSE, TWIN, Shares


@dataclass(frozen=True)
class Check:
    """One question, the answers of the fakes and of real images, the verdict, and how the number is defined."""

    question: str
    fake: str
    real: str
    level: Literal["fine", "note", "alarm"]
    verdict: str
    explained: str


def summary(answered: Sequence[Check]) -> str:
    """One sentence with the verdicts that are not fine, alarms first."""
    verdicts = [check.verdict for level in ("alarm", "note") for check in answered if check.level == level]
    return (
        f"{'; '.join([verdicts[0], *(text[0].lower() + text[1:] for text in verdicts[1:])])}."
        if verdicts
        else ("Nothing stands out; the fakes pass for real images in every question below.")
    )


def percent(share: float) -> str:
    """A share in whole percent; "under 1 %" and "over 99 %" instead of a wrong 0 % or 100 %."""
    if 0 < share < 0.005:
        return "under 1 %"
    if 0.995 <= share < 1:
        return "over 99 %"
    return f"{share * 100:.0f} %"


def times(ratio: float) -> str:
    return f"{ratio:.2f} times" if ratio < 10 else f"{ratio:.0f} times"


def checks(shares: Shares, details: tuple[float, float] | None) -> list[Check]:
    """All checks. details: `findings.detail` of the real and the fake pictures; None leaves out the sharpness check."""
    sharpness = [_sharpness(details[1] / details[0])] if details is not None and details[0] > 0 else []
    return [_copies(shares), _repeats(shares), *sharpness, _variety(shares), _reach(shares), _distance(shares)]


def _copies(shares: Shares) -> Check:
    more = shares.copied - shares.copied_real
    level, verdict = _graded(more, 0.5, 0.1, "Copies real images", "Some fakes look copied", "No sign of copying")
    return Check(
        "Are fakes copies of real images?", percent(shares.copied), percent(shares.copied_real), level, verdict,
        f"share of {shares.n_looked_at:,} fakes that are more than {1 / CLOSE:.0f} times nearer to a real image than "
        "that image is to any other real one",
    )  # fmt: skip


def _repeats(shares: Shares) -> Check:
    more = shares.twins - shares.twins_real
    level, verdict = _graded(more, 0.5, 0.1, "Repeats itself", "Some fakes repeat", "No repeats")
    return Check(
        "Does it repeat itself?", percent(shares.twins), percent(shares.twins_real), level, verdict,
        f"share of images with a near-identical twin (nearer than {TWIN:g} of the usual gap) among {shares.n_equal:,}",
    )  # fmt: skip


def _variety(shares: Shares) -> Check:
    level, verdict = _graded(
        1 - shares.variety, 0.5, 0.25, "Fakes are much alike", "Fakes are rather alike", "As varied as real images"
    )
    return Check(
        "How different are fakes from each other?", times(shares.variety), "1.00 times", level, verdict,
        f"median distance from a fake to the nearest other one, over the same among {shares.n_equal:,} real images",
    )  # fmt: skip


def _reach(shares: Shares) -> Check:
    level, verdict = _graded(
        0.97 - shares.reached, 0.47, 0.17, "Misses most of the real images", "Misses some real images",
        "Reaches nearly all real images",
    )  # fmt: skip
    return Check(
        "How much of the real set is reached?", percent(shares.reached), "97 %", level, verdict,
        "share of real images that have a fake as near as their fifth nearest real neighbour "
        f"(coverage, {shares.n_equal:,} of each)",
    )  # fmt: skip


def _distance(shares: Shares) -> Check:
    level, verdict = _graded(
        shares.distance - 1, 0.5, 0.15, "Fakes lie far from real images", "Fakes lie somewhat off", "As near as real"
    )
    if shares.distance < 0.7:
        level, verdict = "note", "Fakes sit very near real images"
    return Check(
        "How far are fakes from real images?", times(shares.distance), "1.00 times", level, verdict,
        "median distance from a fake to the nearest real image, over that between real images",
    )  # fmt: skip


def _sharpness(ratio: float) -> Check:
    if ratio > 1:
        level, verdict = _graded(
            ratio - 1, 2.0, 0.6, "Far noisier or harsher", "Noisier or sharper", "As sharp as real"
        )
    else:
        level, verdict = _graded(1 - ratio, 0.6, 0.35, "Blurry", "Softer than real images", "As sharp as real")
    return Check(
        "Is there as much fine detail?", times(ratio), "1.00 times", level, verdict,
        "median squared Laplacian of the fakes shown below, over that of the real images shown",
    )  # fmt: skip


def _graded(
    off: float, alarm: float, note: float, loud: str, mild: str, fine: str
) -> tuple[Literal["fine", "note", "alarm"], str]:
    if off >= alarm:
        return "alarm", loud
    return ("note", mild) if off >= note else ("fine", fine)
