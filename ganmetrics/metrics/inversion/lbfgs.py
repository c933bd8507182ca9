"""L-BFGS for many images at once. Each has its own history and line search; all share the passes of the generator.

Liu & Nocedal 1989: two-loop recursion over the last pairs. Lewis & Overton 2013: weak Wolfe line search by bracketing,
which suits the kinks of ReLU networks. It differs from L-BFGS on each image only in the order of the work: one pass
evaluates one trial point of every image. The image either accepts the point and gets a new direction, or tries another
step length, so that no image waits for the line search of another. Converged images leave the batch.

A bound is enforced by projection: trial points are clamped, and coordinates that would leave the bound do not
take part in the direction.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ganmetrics.metrics.inversion.descent import Found, Limits
from ganmetrics.metrics.inversion.objective import Objective

# Passes in the history. Those without a new pair count too; else an image's history would depend on its batch.
PAIRS = 20
ARMIJO, WOLFE = 1e-4, 0.9  # the usual constants of quasi-Newton methods
TRIES = 12  # step lengths that a line search may try
PATIENCE = 3  # steps in a row without a decrease beyond the tolerance, after which an image is done
NOISE = {torch.float32: 3e-7, torch.float64: 1e-15}  # rounding error of a loss, as a share of it
TINY = 1e-14  # a loss that counts as 0


@dataclass
class State:
    """State of the images that are still searched, one row per image.

    Attributes:
        rows: index of the image in the batch.
        near, far: lower and upper end of the bracket of the step length; `far` 0 means no upper end yet.
        tries: step lengths tried in this line search.
        quiet: steps in a row without a decrease beyond the tolerance.
        fresh: whether the direction is plain steepest descent, without a step accepted since.
        scale: inverse curvature with which the two-loop recursion starts.
        pairs: (step, change of the gradient, 1 / their product) of the last passes, oldest first; the last is 0 for an
            image without a new pair in that pass.
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
        """The rows where `mask` is true."""
        own = {field.name: getattr(self, field.name)[mask] for field in fields(self) if field.name != "pairs"}
        return State(**own, pairs=[(step[mask], change[mask], weight[mask]) for step, change, weight in self.pairs])


def lbfgs(objective: Objective, rows: Tensor, start: Tensor, limits: Limits) -> Found:
    """Minimises the loss of every image from its start `(n, dim)`. The last point is the best: losses never rise."""
    latent_dim = objective.generator.latent_dim
    x = limits.inside(start, latent_dim)
    loss, gradient = objective(rows, x)
    state = _initial(rows, x, loss, gradient)
    found = Found(
        x.clone(), loss.clone(), torch.ones(len(rows), dtype=torch.long), torch.zeros_like(rows, dtype=torch.bool)
    )
    position = torch.empty(int(rows.max()) + 1, dtype=torch.long, device=rows.device)
    position[rows] = torch.arange(len(rows), device=rows.device)
    _new_direction(state, torch.ones_like(rows, dtype=torch.bool), limits, latent_dim)
    done = state.gradient.abs().amax(1) == 0
    for step in range(1, limits.steps + 1):
        at = position[state.rows]
        found.x[at], found.loss[at], found.converged[at], found.steps[at.cpu()] = state.x, state.loss, done, step
        if bool(done.any()):
            state = state.keep(~done)
        if not len(state.rows) or step == limits.steps:
            break
        done = _advance(objective, state, limits)
    return found


def _initial(rows: Tensor, x: Tensor, loss: Tensor, gradient: Tensor) -> State:
    zero, count = torch.zeros_like(loss), torch.zeros_like(rows)
    # First step of length 1: one standard deviation of a Gaussian prior.
    first = 1 / gradient.norm(dim=1).clamp(min=torch.finfo(x.dtype).tiny)
    return State(
        rows, x, loss, gradient, -gradient, zero + 1, zero, zero, count, count, zero == 0, scale=first, pairs=[]
    )


def _advance(objective: Objective, s: State, limits: Limits) -> Tensor:
    """One pass, which evaluates the trial point of every image. Returns which images are done."""
    latent_dim = objective.generator.latent_dim
    trial = limits.inside(s.x + s.length[:, None] * s.direction, latent_dim)
    loss, gradient = objective(s.rows, trial, trial=True)
    step = trial - s.x
    slope, trial_slope = _dot(s.gradient, step), _dot(gradient, step)
    noise = NOISE[s.x.dtype] * s.loss.abs()
    falls = (loss <= s.loss + ARMIJO * slope + noise) & (slope < 0)
    flat = trial_slope >= WOLFE * slope
    accept = falls & (flat | (s.tries >= TRIES // 2))  # late in a line search any sufficient decrease will do
    stuck = ~accept & (s.tries >= TRIES)
    done = _accept(s, accept, trial, loss, gradient, step, limits)
    _next_length(s, ~accept & ~stuck, falls, loss - s.loss, slope)
    done |= stuck & s.fresh  # steepest descent fails too: only rounding is left
    # The other stuck images restart from a short steepest descent step, without history.
    short = 0.1 / s.gradient.norm(dim=1).clamp(min=torch.finfo(s.x.dtype).tiny)
    s.scale, s.fresh = torch.where(stuck, short, s.scale), s.fresh | stuck
    s.pairs = [(step, change, weight.masked_fill(stuck, 0)) for step, change, weight in s.pairs]
    _new_direction(s, accept | stuck, limits, latent_dim)
    stationary = torch.where(_free(s, limits, latent_dim), s.gradient, 0).abs().amax(1) == 0
    return done | stationary | (s.loss <= TINY)


def _accept(
    s: State, accept: Tensor, trial: Tensor, loss: Tensor, gradient: Tensor, step: Tensor, limits: Limits
) -> Tensor:
    """Move the accepted images and add their curvature pairs. Returns which of them have converged."""
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


def _next_length(s: State, retry: Tensor, falls: Tensor, rise: Tensor, slope: Tensor) -> None:
    """The next step length: shorter, by a parabola or bisection, or twice as long while the loss falls steeply."""
    near = torch.where(falls, s.length, s.near)
    far = torch.where(falls, s.far, s.length)
    minimum = s.length * (-slope / (2 * (rise - slope)).clamp(min=torch.finfo(s.x.dtype).tiny)).clamp(0.1, 0.6)
    between = torch.where(near > 0, (near + far) / 2, minimum)
    length = torch.where(far > 0, between, 2 * near)
    for name, new in (("near", near), ("far", far), ("length", length), ("tries", s.tries + 1)):
        setattr(s, name, torch.where(retry, new, getattr(s, name)))


def _new_direction(s: State, which: Tensor, limits: Limits, latent_dim: int) -> None:
    """New directions: minus the inverse Hessian estimate times the gradient, by the two-loop recursion."""
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
    uphill = _dot(direction, gradient) >= 0  # then the pairs mislead: take steepest descent
    direction = torch.where(uphill[:, None], -s.scale[:, None] * gradient, direction)
    s.direction = torch.where(which[:, None], direction, s.direction)
    for name, value in (("length", 1), ("near", 0), ("far", 0), ("tries", 0)):
        setattr(s, name, torch.where(which, value, getattr(s, name)))


def _free(s: State, limits: Limits, latent_dim: int) -> Tensor:
    """Which coordinates may move: all except those at the bound that the negative gradient pushes outwards."""
    if limits.bound is None:
        return torch.ones_like(s.x, dtype=torch.bool)
    blocked = ((s.x >= limits.bound) & (s.gradient < 0)) | ((s.x <= -limits.bound) & (s.gradient > 0))
    blocked[:, latent_dim:] = False  # logits of labels have no bound
    return ~blocked


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(-1)
