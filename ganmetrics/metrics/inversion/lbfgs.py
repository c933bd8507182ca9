"""L-BFGS for many images at once, each with its own history and line search, every pass of the generator shared.

Liu & Nocedal 1989: two-loop recursion over the last pairs. Lewis & Overton 2013: weak Wolfe line search by bracketing,
which suits the kinks of ReLU networks. It differs from running L-BFGS on each image in the order of the work alone:
every pass takes each image to its own trial point, where it is either accepted (and gets a new direction) or tries
another length, so that no image waits for the line search of another. Images that have converged leave the batch.

A bound is kept by projection: trial points are clamped, and coordinates that rest against it have no part in it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ganmetrics.metrics.inversion.descent import Found, Limits
from ganmetrics.metrics.inversion.objective import Objective

PAIRS = 20  # passes that are remembered, those that learned nothing among them, or a batch would decide how many count
ARMIJO, WOLFE = 1e-4, 0.9
TRIES = 12  # lengths a line search may try
PATIENCE = 3  # steps in a row without a fall that counts
NOISE = {torch.float32: 3e-7, torch.float64: 1e-15}  # of the loss: what rounding may add to it
TINY = 1e-14  # a loss that is nothing


@dataclass
class State:
    """One row an image that is still searched. `near` and `far` bracket the length of its step; `far` 0 is open.

    `pairs` are (step, change of the gradient, 1 / their product) of the last passes, oldest first; 0 where an image
    learned nothing. `fresh` says that an image has learned nothing since its direction was set to straight down.
    """

    rows: Tensor
    x: Tensor
    loss: Tensor
    gradient: Tensor
    direction: Tensor
    length: Tensor
    near: Tensor
    far: Tensor
    tries: Tensor
    quiet: Tensor
    fresh: Tensor
    scale: Tensor
    pairs: list[tuple[Tensor, Tensor, Tensor]]

    def keep(self, mask: Tensor) -> State:
        own = {field.name: getattr(self, field.name)[mask] for field in fields(self) if field.name != "pairs"}
        return State(**own, pairs=[(step[mask], change[mask], weight[mask]) for step, change, weight in self.pairs])


def lbfgs(objective: Objective, rows: Tensor, start: Tensor, limits: Limits) -> Found:
    """Minimises every image's loss from its own start `(n, dim)`. The best point is the last: the loss never rises."""
    latent_dim = objective.generator.latent_dim
    x = limits.inside(start, latent_dim)
    loss, gradient = objective(rows, x)
    state = _begin(rows, x, loss, gradient)
    found = Found(
        x.clone(), loss.clone(), torch.ones(len(rows), dtype=torch.long), torch.zeros_like(rows, dtype=torch.bool)
    )
    place = torch.empty(int(rows.max()) + 1, dtype=torch.long, device=rows.device)
    place[rows] = torch.arange(len(rows), device=rows.device)
    _aim(state, torch.ones_like(rows, dtype=torch.bool), limits, latent_dim)
    done = state.gradient.abs().amax(1) == 0
    for step in range(1, limits.steps + 1):
        at = place[state.rows]
        found.x[at], found.loss[at], found.converged[at], found.steps[at.cpu()] = state.x, state.loss, done, step
        if bool(done.any()):
            state = state.keep(~done)
        if not len(state.rows) or step == limits.steps:
            break
        done = _advance(objective, state, limits)
    return found


def _begin(rows: Tensor, x: Tensor, loss: Tensor, gradient: Tensor) -> State:
    zero, count = torch.zeros_like(loss), torch.zeros_like(rows)
    first = 1 / gradient.norm(dim=1).clamp(min=torch.finfo(x.dtype).tiny)  # a first step of length 1: one deviation
    return State(
        rows, x, loss, gradient, -gradient, zero + 1, zero, zero, count, count, zero == 0, scale=first, pairs=[]
    )


def _advance(objective: Objective, s: State, limits: Limits) -> Tensor:
    """One pass: every image at its trial point. Returns which images are done."""
    latent_dim = objective.generator.latent_dim
    trial = limits.inside(s.x + s.length[:, None] * s.direction, latent_dim)
    loss, gradient = objective(s.rows, trial, trial=True)
    step = trial - s.x
    slope, slope_there = _dot(s.gradient, step), _dot(gradient, step)
    noise = NOISE[s.x.dtype] * s.loss.abs()
    falls = (loss <= s.loss + ARMIJO * slope + noise) & (slope < 0)
    flat = slope_there >= WOLFE * slope
    accept = falls & (flat | (s.tries >= TRIES // 2))
    stuck = ~accept & (s.tries >= TRIES)
    done = _accept(s, accept, trial, loss, gradient, step, limits)
    _relength(s, ~accept & ~stuck, falls, loss - s.loss, slope)
    done |= stuck & s.fresh  # even downhill nothing is to be gained: rounding is all that is left
    short = 0.1 / s.gradient.norm(dim=1).clamp(min=torch.finfo(s.x.dtype).tiny)
    s.scale, s.fresh = torch.where(stuck, short, s.scale), s.fresh | stuck
    s.pairs = [(step, change, weight.masked_fill(stuck, 0)) for step, change, weight in s.pairs]
    _aim(s, accept | stuck, limits, latent_dim)
    nowhere = torch.where(_free(s, limits, latent_dim), s.gradient, 0).abs().amax(1) == 0
    return done | nowhere | (s.loss <= TINY)


def _accept(
    s: State, accept: Tensor, trial: Tensor, loss: Tensor, gradient: Tensor, step: Tensor, limits: Limits
) -> Tensor:
    """Move the accepted images, learn their curvature; returns which of them fall no more."""
    change = gradient - s.gradient
    along, square = _dot(step, change), _dot(change, change)
    learn = accept & (along > 1e-10 * square) & (square > 0)
    s.pairs = [*s.pairs[1 - PAIRS :], (step, change, torch.where(learn, 1 / along, 0))]
    s.scale = torch.where(learn, along / square, s.scale)
    quiet = s.loss - loss <= limits.tolerance * loss
    s.quiet = torch.where(accept, torch.where(quiet, s.quiet + 1, 0), s.quiet)
    s.x = torch.where(accept[:, None], trial, s.x)
    s.gradient = torch.where(accept[:, None], gradient, s.gradient)
    s.loss = torch.where(accept, loss, s.loss)
    s.fresh &= ~accept
    return accept & (s.quiet >= PATIENCE)


def _relength(s: State, again: Tensor, falls: Tensor, rise: Tensor, slope: Tensor) -> None:
    """The next length to try: shorter by the parabola through what is known, or longer while it still falls steeply."""
    near = torch.where(falls, s.length, s.near)
    far = torch.where(falls, s.far, s.length)
    bottom = s.length * (-slope / (2 * (rise - slope)).clamp(min=torch.finfo(s.x.dtype).tiny)).clamp(0.1, 0.6)
    between = torch.where(near > 0, (near + far) / 2, bottom)
    length = torch.where(far > 0, between, 2 * near)
    for name, new in (("near", near), ("far", far), ("length", length), ("tries", s.tries + 1)):
        setattr(s, name, torch.where(again, new, getattr(s, name)))


def _aim(s: State, which: Tensor, limits: Limits, latent_dim: int) -> None:
    """New directions: minus the inverse curvature times the gradient, by the two-loop recursion, oldest pair first."""
    if not which.any():
        return
    free = _free(s, limits, latent_dim)
    q = gradient = torch.where(free, s.gradient, 0)
    weights = []
    for step, change, curvature in reversed(s.pairs):
        weights.append(curvature * _dot(step, q))
        q = q - weights[-1][:, None] * change
    r = s.scale[:, None] * q
    for (step, change, curvature), weight in zip(s.pairs, reversed(weights), strict=True):
        r = r + (weight - curvature * _dot(change, r))[:, None] * step
    direction = torch.where(free, -r, 0)
    uphill = _dot(direction, gradient) >= 0
    direction = torch.where(uphill[:, None], -s.scale[:, None] * gradient, direction)
    s.direction = torch.where(which[:, None], direction, s.direction)
    for name, value in (("length", 1), ("near", 0), ("far", 0), ("tries", 0)):
        setattr(s, name, torch.where(which, value, getattr(s, name)))


def _free(s: State, limits: Limits, latent_dim: int) -> Tensor:
    """Coordinates that do not rest against the bound with the gradient pushing them on."""
    if limits.bound is None:
        return torch.ones_like(s.x, dtype=torch.bool)
    resting = ((s.x >= limits.bound) & (s.gradient < 0)) | ((s.x <= -limits.bound) & (s.gradient > 0))
    resting[:, latent_dim:] = False
    return ~resting


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(-1)
