"""BEGAN's k and M, and when M stalls, by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from reference_models.networks.began_control import Equilibrium, balanced, convergence

RULES: dict[str, Any] = {"gamma": 0.5, "rate": 0.1, "patience": 10**9}


def test_five_steps_by_hand() -> None:
    """L(x), L(G(z)) -> k, M, worked out on paper with gamma 1/2 and lambda 1/10."""
    steps = [
        (1.0, 0.25, 0.025, 1.25),  # 0 + .1 (.5 - .25);      1 + .25
        (0.8, 0.10, 0.055, 1.10),  # .025 + .1 (.4 - .1);    .8 + .3
        (0.6, 0.30, 0.055, 0.60),  # in balance
        (0.4, 0.40, 0.035, 0.60),  # .055 - .1 (.4 - .2);    .4 + .2
        (0.2, 0.60, 0.000, 0.70),  # .035 - .1 (.6 - .1), cut at 0; .2 + .5
    ]
    control, total, weight = Equilibrium(), 0.0, 0.0
    for real, fake, k, measure in steps:
        assert not control.update(real, fake, **RULES)
        assert control.k == pytest.approx(k, abs=1e-15)
        assert convergence(real, fake, gamma=0.5) == pytest.approx(measure, abs=1e-15)
        total, weight = 0.99 * total + 0.01 * measure, 0.99 * weight + 0.01
        assert control.smoothed == pytest.approx(total / weight, rel=1e-12)
    assert control.idle == 1


@pytest.mark.parametrize(("k", "real", "fake", "next_k"), [(0.95, 10.0, 0.0, 1.0), (0.05, 0.0, 10.0, 0.0)])
def test_k_is_clipped(k: float, real: float, fake: float, next_k: float) -> None:
    assert balanced(k, real, fake, gamma=0.5, rate=0.1) == next_k


def test_the_first_smoothed_value_is_the_first_measure() -> None:
    control = Equilibrium()
    assert control.smoothed == math.inf
    control.update(1.0, 0.25, **RULES)
    assert control.smoothed == pytest.approx(1.25, rel=1e-12)


def test_when_m_stalls() -> None:
    """A constant M stalls every `patience` steps; one that falls by 1 % within them never does."""
    control, rules = Equilibrium(), {**RULES, "patience": 5}
    assert [step for step in range(1, 18) if control.update(1.0, 0.5, **rules)] == [6, 11, 16]
    falling = Equilibrium()
    assert not any(falling.update(0.9**step, 0.5 * 0.9**step, **rules) for step in range(400))
    slowly = Equilibrium()  # by less than 1 % in five steps
    assert any(slowly.update(0.9999**step, 0.5 * 0.9999**step, **rules) for step in range(20))


def test_the_state_is_all_of_it() -> None:
    one, two = Equilibrium(), Equilibrium()
    for step in range(7):
        one.update(1 / (step + 1), 0.3, **RULES)
    two.load(one.state())
    assert two == one
    assert one.update(0.5, 0.1, **RULES) == two.update(0.5, 0.1, **RULES)
    assert two == one
