"""Images drawn at random while a source is read, for the reference files of ADM, which hold some images too."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

import numpy as np
from torch import Tensor

from ganmetrics.errors import SourceError
from ganmetrics.statistics.npz import Blocks

CUSTOMARY = 10_000  # images in the published files
BLOCK = 256


class KeptImages:
    """At most `most` images of one size, each with the same chance, in the order of the source.

    Vitter 1985 (Algorithm R). They are kept in a temporary file, so memory does not grow.
    """

    def __init__(self, most: int = CUSTOMARY, seed: int = 0):
        self.most = most
        self._random = np.random.default_rng(seed)
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  (closed with this object)
        self._shape: tuple[int, int, int] | None = None
        self._indices: list[int] = []  # of the image in each place of the file
        self._seen = 0

    def watch(self, stack: Tensor) -> None:
        """Draw among images `(b, C, H, W)`, uint8; grey is repeated to RGB. Raises SourceError for another size."""
        images = stack.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).contiguous().cpu().numpy()
        self._shape = self._shape or images.shape[1:]
        if images.shape[1:] != self._shape:
            (height, width, _), (own_height, own_width, _) = self._shape, images.shape[1:]
            raise SourceError(
                f"a reference file of ADM holds images of one size, and here are {width}x{height} and "
                f"{own_width}x{own_height}; resize them first, as with --prepare SIZE"
            )
        for image in images:
            place = self._seen if self._seen < self.most else int(self._random.integers(self._seen + 1))
            if place < self.most:
                self._indices[place : place + 1] = [self._seen]
                self._file.seek(place * image.nbytes)
                self._file.write(image.tobytes())
            self._seen += 1

    def array(self) -> Blocks:
        """The images as an array `(N, H, W, 3)`."""
        shape = self._shape or (0, 0, 3)
        return Blocks((len(self._indices), *shape), np.dtype(np.uint8), self._blocks(shape))

    def _blocks(self, shape: tuple[int, int, int]) -> Iterator[np.ndarray]:
        nbytes = int(np.prod(shape))
        places = np.argsort(self._indices)
        for start in range(0, len(places), BLOCK):
            images = []
            for place in places[start : start + BLOCK]:
                self._file.seek(int(place) * nbytes)
                images.append(np.fromfile(self._file, np.uint8, nbytes))
            yield np.stack(images).reshape(-1, *shape)
