"""The control of BEGAN: the balance k between real and generated images, and the measure of convergence M.

Berthelot et al. 2017 (arXiv:1703.10717, Sections 3.3 and 3.4), with L the autoencoder's loss on images:

    k <- clip(k + lambda (gamma L(x) - L(G(z))), 0, 1)                      M = L(x) + |gamma L(x) - L(G(z))|

The paper smooths M without saying why, and halves the learning rate "when the measure of convergence stalls" without
giving a rule. Here M is smoothed by a bias-corrected exponential mean with decay 0.99 per step. It stalls when the
smoothed M has not fallen by 1 % below its lowest value for `patience` steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import inf
from typing import Any

SMOOTHING = 0.99  # decay of the exponential mean of M, per step
FALL = 0.01  # relative fall of the smoothed M that counts as progress
IGNORED = 1000  # steps with k = 0 that are worth a warning


def balanced(k: float, real: float, fake: float, *, gamma: float, rate: float) -> float:
    """The next k, from L(x) and L(G(z)); `rate` is the paper's lambda."""
    return min(max(k + rate * (gamma * real - fake), 0.0), 1.0)


def convergence(real: float, fake: float, *, gamma: float) -> float:
    """M_global, from L(x) and L(G(z))."""
    return real + abs(gamma * real - fake)


@dataclass
class Equilibrium:
    """k, the smoothed M and the counters of the two rules, all plain numbers.

    Attributes:
        k: weight in the next step's L_D = L(x) - k L(G(z)).
        total, weight: numerator and denominator of the smoothed M.
        lowest: smoothed M when it last fell by FALL.
        stalled: steps since then, or since M last stalled.
        idle: number of consecutive steps after which k was 0.
    """

    k: float = 0.0
    total: float = 0.0
    weight: float = 0.0
    lowest: float | None = None
    stalled: int = 0
    idle: int = 0

    @property
    def smoothed(self) -> float:
        """The bias-corrected mean of M; infinite before the first step."""
        return self.total / self.weight if self.weight else inf

    def update(self, real: float, fake: float, *, gamma: float, rate: float, patience: int) -> bool:
        """Update with one step's L(x) and L(G(z)). Returns whether M stalls; if so, `stalled` restarts at 0."""
        self.k = balanced(self.k, real, fake, gamma=gamma, rate=rate)
        self.idle = 0 if self.k else self.idle + 1
        self.total = SMOOTHING * self.total + (1 - SMOOTHING) * convergence(real, fake, gamma=gamma)
        self.weight = SMOOTHING * self.weight + (1 - SMOOTHING)
        if self.lowest is None or self.smoothed < (1 - FALL) * self.lowest:
            self.lowest, self.stalled = self.smoothed, 0
            return False
        self.stalled += 1
        stalls = self.stalled >= patience
        self.stalled = 0 if stalls else self.stalled
        return stalls

    def state(self) -> dict[str, Any]:
        """Every field, for the checkpoint."""
        return asdict(self)

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        for field in fields(self):
            setattr(self, field.name, state[field.name])
