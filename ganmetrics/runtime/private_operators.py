"""Operators of torch that are no public interface: used where they pay, and only as long as they are right.

They are quicker than what they stand for, and nobody promises that they are there, or right for every shape: one that
was exact for hundreds of dimensions gave garbage for one. So each is tried over the shapes at the edge of those that
it is kept to, and then on a part of the first real work of every shape, against the plain operator; the first
disagreement ends its use in this process, and the numbers are the plain operator's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

import torch
from torch import Tensor

from ganmetrics.runtime.arithmetic import exact_arithmetic

Work = TypeVar("Work")
FAILURES = (RuntimeError, AttributeError, TypeError, NotImplementedError, IndexError)  # of one that is not there
CHECKS = 8  # shapes of real work that are checked


class PrivateOperator(ABC, Generic[Work]):
    """One operator and the plain one that it stands for; `__call__` does a piece of work by whichever is to be used.

    Attributes:
        checks: at most so many shapes of real work are checked.
    """

    checks = CHECKS

    def __init__(self) -> None:
        self._available: bool | None = None
        self._checked: set[Hashable] = set()

    @abstractmethod
    def private(self, work: Work) -> Tensor:
        """The work by the operator that is no public interface."""

    @abstractmethod
    def plain(self, work: Work) -> Tensor:
        """The same by public operators, whatever the shape."""

    @abstractmethod
    def pays(self, work: Work) -> bool:
        """Whether the work has a shape that the operator is meant for; no other reaches it."""

    @abstractmethod
    def shape(self, work: Work) -> Hashable:
        """All that the operator may choose its way by."""

    @abstractmethod
    def part(self, work: Work, found: Tensor) -> tuple[Work, Tensor]:
        """A part of the work that takes the plain operator little time, and what was found for it."""

    @abstractmethod
    def agrees(self, work: Work, found: Tensor) -> bool:
        """Whether the plain operator gives the same, exactly or within rounding."""

    @abstractmethod
    def trials(self) -> Iterator[Work]:
        """Small work of the shapes at the edge: odd ones, about the width of a vector, strided, transposed."""

    def supported(self) -> bool:
        """Whether it is worth trying with this torch on this processor."""
        return torch.backends.mkldnn.is_available()

    def available(self) -> bool:
        """Whether it is to be used: supported, right in every trial, and not found wrong since."""
        if self._available is None:
            self._available = self._tried()
        return self._available

    def refuse(self) -> None:
        """Use the plain operator from now on."""
        self._available = False

    def forget(self) -> None:
        """Try and check again."""
        self._available = None
        self._checked.clear()

    def __call__(self, work: Work) -> Tensor:
        """The work done, by the plain operator wherever there is any doubt of the other."""
        if not self.pays(work) or not self.available():
            return self.plain(work)
        shape = self.shape(work)
        if shape in self._checked or len(self._checked) >= self.checks:
            return self.private(work)
        try:
            found = self.private(work)
            if self.agrees(*self.part(work, found)):
                self._checked.add(shape)
                return found
        except FAILURES:
            pass  # where the work itself is at fault, the plain operator says so
        self.refuse()
        return self.plain(work)

    def _tried(self) -> bool:
        with exact_arithmetic(torch.device("cpu")):  # whatever is set around us now
            try:
                return self.supported() and all(self.agrees(work, self.private(work)) for work in self.trials())
            except FAILURES:
                return False


def some_of(length: int, most: int = 32) -> Tensor:
    """Places from the first to the last, all or evenly spread."""
    return torch.linspace(0, length - 1, min(length, most), dtype=torch.float64).round().long()
