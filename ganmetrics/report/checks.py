"""What stands out, in plain words: each check states its number, what real images give, and what it may mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ganmetrics.report.findings import CLOSE, TWIN, Shares


@dataclass(frozen=True)
class Check:
    """One question with the answer of these fakes, the answer that real images give, and a sentence about it."""

    question: str
    fake: str
    real: str
    level: Literal["fine", "note", "alarm"]
    verdict: str
    explained: str


def summary(asked: Sequence[Check]) -> str:
    """The verdicts that stand out, the loud ones first, as one sentence."""
    found = [check.verdict for level in ("alarm", "note") for check in asked if check.level == level]
    return (
        f"{'; '.join([found[0], *(text[0].lower() + text[1:] for text in found[1:])])}."
        if found
        else ("Nothing stands out; the fakes pass for real images in every question below.")
    )


def percent(share: float) -> str:
    """Whole percents, with "under 1 %" for little and "over 99 %" for nearly all."""
    if 0 < share < 0.005:
        return "under 1 %"
    if 0.995 <= share < 1:
        return "over 99 %"
    return f"{share * 100:.0f} %"


def times(ratio: float) -> str:
    return f"{ratio:.2f} times" if ratio < 10 else f"{ratio:.0f} times"


def checks(found: Shares, details: tuple[float, float] | None) -> list[Check]:
    """Every question that can be asked; `details`: of the real and the fake images that are shown."""
    sharpness = [_sharpness(details[1] / details[0])] if details is not None and details[0] > 0 else []
    return [_copies(found), _repeats(found), *sharpness, _variety(found), _reach(found), _distance(found)]


def _copies(found: Shares) -> Check:
    more = found.copied - found.copied_real
    level, verdict = _graded(more, 0.5, 0.1, "Copies real images", "Some fakes look copied", "No sign of copying")
    return Check(
        "Are fakes copies of real images?", percent(found.copied), percent(found.copied_real), level, verdict,
        f"share of {found.n_looked_at:,} fakes that are more than {1 / CLOSE:.0f} times nearer to a real image than "
        "that image is to any other real one",
    )  # fmt: skip


def _repeats(found: Shares) -> Check:
    more = found.twins - found.twins_real
    level, verdict = _graded(more, 0.5, 0.1, "Repeats itself", "Some fakes repeat", "No repeats")
    return Check(
        "Does it repeat itself?", percent(found.twins), percent(found.twins_real), level, verdict,
        f"share of images with a near-identical twin (nearer than {TWIN:g} of the usual gap) among {found.n_equal:,}",
    )  # fmt: skip


def _variety(found: Shares) -> Check:
    level, verdict = _graded(
        1 - found.variety, 0.5, 0.25, "Fakes are much alike", "Fakes are rather alike", "As varied as real images"
    )
    return Check(
        "How different are fakes from each other?", times(found.variety), "1.00 times", level, verdict,
        f"median distance from a fake to the nearest other one, over the same among {found.n_equal:,} real images",
    )  # fmt: skip


def _reach(found: Shares) -> Check:
    level, verdict = _graded(
        0.97 - found.reached, 0.47, 0.17, "Misses most of the real images", "Misses some real images",
        "Reaches nearly all real images",
    )  # fmt: skip
    return Check(
        "How much of the real set is reached?", percent(found.reached), "97 %", level, verdict,
        "share of real images that have a fake as near as their fifth nearest real neighbour "
        f"(coverage, {found.n_equal:,} of each)",
    )  # fmt: skip


def _distance(found: Shares) -> Check:
    level, verdict = _graded(
        found.distance - 1, 0.5, 0.15, "Fakes lie far from real images", "Fakes lie somewhat off", "As near as real"
    )
    if found.distance < 0.7:
        level, verdict = "note", "Fakes sit very near real images"
    return Check(
        "How far are fakes from real images?", times(found.distance), "1.00 times", level, verdict,
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
