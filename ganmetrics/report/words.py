"""What each value of each metric says, in one plain sentence."""

from __future__ import annotations

from ganmetrics.metrics import METRICS

SENTENCES = {
    "fid": "How far the two sets lie apart as two Gaussian clouds; 0 for equal ones. Falls with more images.",
    "is": "How sure a classifier is of single fakes and how evenly it spreads over classes. Sees no real image.",
    "kid": "How far the two sets lie apart by a polynomial kernel; about 0 for equal ones, with few images too.",
    "precision": "Share of fakes that lie among real images: how believable single fakes are.",
    "recall": "Share of real images that lie among fakes: how much of the real variety is made.",
    "density": "How thickly real images lie around the fakes; about 1 for real ones, and above it in crowded places.",
    "coverage": "Share of real images with a fake close by; near 1 for real ones, low where variety is missing.",
    "fid-infinity": "The Fréchet distance as it would be with endlessly many images.",
    "sfid": "The Fréchet distance of features that keep where things are in the picture.",
    "vendi": "How many truly different images there are among the fakes.",
    "cmmd": "How far the two sets lie apart by a Gaussian kernel on CLIP-like features; 0 for equal ones.",
    "authenticity": "Share of fakes that are no near copies; a third to a half for fresh images, near 0 for copies.",
    "mifid": "The Fréchet distance, made worse where fakes are copies of training images.",
    "class-fid": "The Fréchet distance of each class by itself, and their mean.",
    "intra-class-diversity": "How unlike each other the fakes of one class are; 0 where a class is one image.",
}


def title(key: str) -> str:
    """The metric's title in the index, with the value's own name where it has several."""
    base = key.partition("@")[0]
    for entry in METRICS.values():
        if base in entry.values:
            return base.replace("-", " ").replace("_", " ").capitalize() if entry.parts else entry.title
    return key


def sentence(key: str) -> str:
    """What the value says; empty for one that has no sentence of its own."""
    return SENTENCES.get(key.partition("@")[0].replace("_", "-"), "")
