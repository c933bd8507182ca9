"""Operators of torch outside its public interface: used where they are faster, and only while they are correct.

torch does not promise that they exist, or that they are correct for every shape: one that was exact for hundreds of
dimensions gave garbage for one. So each is compared with the plain public operator: first in trials at the edges of
the shapes that it is used for, then on a part of the first real work of every shape. After the first disagreement
this process uses the plain operator only, for the work that disagreed too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

import torch
from torch import Tensor

from ganmetrics.runtime.arithmetic import exact_arithmetic

Work = TypeVar("Work")
FAILURES = (RuntimeError, AttributeError, TypeError, NotImplementedError, IndexError)  # of a missing operator
CHECKS = 8  # number of shapes of real work that are checked


class PrivateOperator(ABC, Generic[Work]):
    """A private operator and the plain one that it replaces; calling it does the work with one of the two.

    Attributes:
        checks: number of shapes of real work that are checked; further shapes are not.
    """

    checks = CHECKS

    def __init__(self) -> None:
        self._available: bool | None = None
        self._checked: set[Hashable] = set()

    @abstractmethod
    def private(self, work: Work) -> Tensor:
        """Do the work with the private operator."""

    @abstractmethod
    def plain(self, work: Work) -> Tensor:
        """Do the same work with public operators, which are correct for every shape."""

    @abstractmethod
    def pays(self, work: Work) -> bool:
        """Whether the private operator is meant for work of this shape; all other work goes to the plain one."""

    @abstractmethod
    def shape(self, work: Work) -> Hashable:
        """The sizes by which the operator may choose its algorithm; layouts are covered by the trials."""

    @abstractmethod
    def part(self, work: Work, result: Tensor) -> tuple[Work, Tensor]:
        """A part of the work that is cheap for the plain operator, and the private operator's result for it."""

    @abstractmethod
    def agrees(self, work: Work, result: Tensor) -> bool:
        """Whether the plain operator gives the same result, exactly or within rounding."""

    @abstractmethod
    def trials(self) -> Iterator[Work]:
        """Small work with extreme shapes: odd sizes, sizes about a processor's vector width, strided, transposed."""

    def supported(self) -> bool:
        """Whether this torch and this processor can have the operator at all."""
        return torch.backends.mkldnn.is_available()

    def available(self) -> bool:
        """Whether to use the private operator: supported, correct in every trial, and not found wrong since."""
        if self._available is None:
            self._available = self._passes_trials()
        return self._available

    def refuse(self) -> None:
        """Use the plain operator from now on."""
        self._available = False

    def forget(self) -> None:
        """Repeat trials and checks at the next use."""
        self._available = None
        self._checked.clear()

    def __call__(self, work: Work) -> Tensor:
        """Do the work, with the plain operator wherever the private one is in doubt."""
        if not self.pays(work) or not self.available():
            return self.plain(work)
        shape = self.shape(work)
        if shape in self._checked or len(self._checked) >= self.checks:
            return self.private(work)
        try:
            result = self.private(work)
            if self.agrees(*self.part(work, result)):
                self._checked.add(shape)
                return result
        except FAILURES:
            pass  # if the work itself is invalid, the plain operator below raises
        self.refuse()
        return self.plain(work)

    def _passes_trials(self) -> bool:
        with exact_arithmetic(torch.device("cpu")):  # trials must not depend on the caller's settings
            try:
                return self.supported() and all(self.agrees(work, self.private(work)) for work in self.trials())
            except FAILURES:
                return False


def some_of(length: int, most: int = 32) -> Tensor:
    """At most `most` indices below `length`, evenly spread from the first to the last."""
    return torch.linspace(0, length - 1, min(length, most), dtype=torch.float64).round().long()
