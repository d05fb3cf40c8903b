"""Gradients through the solve: how a solution moves with anything it was computed from.

The iteration ends where the gradient of the cost vanishes, with weights, spreads and gains taken at
that very state. The implicit function theorem then gives the derivative by whatever entered the
gradient (observations, noise, learned parts inside an operator) from one linear system per pixel
with the exact Jacobian of that gradient: curvature of the operators, of the Student-t and clear
weights, of spreads and of jumps included. The Gauss-Newton precision, whose factors the solve has
left behind, is its preconditioner. What comes after the solution (covariances, determinants) is
ordinary differentiation of one more elimination.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from .dynamics import jump_weights, markov_prior, prior_force
from .gauss_newton import ceiling, local_inputs, local_offset, model_residual, newton_step, start
from .likelihood import Linear, Stream, channel_weight, freeze, local_state, residual
from .problem import Problem, State
from .smoother import Factorisation, backsolve

KRYLOV = 40  # directions of one adjoint solve
ADJOINT_TOLERANCE = 1e-10  # of the residual's length, relative


class Attached(NamedTuple):
    """A solution with its graph, and the factors of its posterior with theirs.

    Attributes
    ----------
    x : Tensor, shape (K, P, m)
    c : Tensor, shape (P, n)
        Deviations from the prior mean; gradients flow to what the problem holds.
    factors : Factorisation
        Of the posterior precision at the solution, for :func:`~.smoother.marginals` and
        :func:`~.smoother.log_determinant`.
    state : State
        The same (x, c) with what the operators make of them.
    """

    x: Float[Tensor, "knots pixels m"]
    c: Float[Tensor, "pixels n"]
    factors: Factorisation
    state: State


def linearise_with_graph(problem: Problem, stream: Stream, x: Tensor, c: Tensor) -> Linear:
    """Channels and Jacobian of a stream, both differentiable.

    Parameters
    ----------
    problem : Problem
    stream : Stream
        Whose operator's ``predict`` is differentiable twice.
    x : Tensor, shape (K, P, m)
    c : Tensor, shape (P, n)

    Returns
    -------
    Linear
        That of :func:`~.gauss_newton.linearise`, by one backward pass for each channel.
    """
    prediction, offset, u = _prediction(problem, stream, x, c)
    rows = [
        torch.autograd.grad(prediction[..., i].sum(), u, create_graph=True)[0]
        for i in range(prediction.shape[-1])
    ]
    seen = stream.valid.any(-1)[..., None, None]
    jacobian = torch.where(seen, torch.stack(rows, -2), 0.0)
    return Linear(prediction + offset, jacobian)


def _prediction(
    problem: Problem, stream: Stream, x: Tensor, c: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Operator's channels (P, A, C), offsets, and the inputs u (P, A, V) they came from."""
    local = local_state(stream, x, c)
    u = local_inputs(problem, stream, local)
    if not u.requires_grad:
        u = u.detach().requires_grad_()
    values = []
    for i, name in enumerate(stream.operator.inputs):
        variable = problem.layout.variable(name)
        if variable is None:
            raise KeyError(f"operator input {name!r} is not in the state")
        values.append(variable.transform.value(u[..., i]))
    flat = torch.stack(values, -1).flatten(0, 1)
    out = stream.operator.predict(flat, stream.geometry.flatten())
    prediction = out.view(stream.observed.shape).to(x)
    prediction = prediction + _missed(problem, stream, u.detach(), flat.detach(), prediction)
    return prediction, local_offset(problem, stream, local), u


def _missed(
    problem: Problem, stream: Stream, u: Tensor, values: Tensor, prediction: Tensor
) -> Tensor | float:
    """Residual of every acquisition, (P, A, C); differentiable by its own parameters only."""
    if stream.residual is None:
        return 0.0
    used = stream.valid.any(-1).flatten()
    pairs = used.nonzero()[:, 0]
    slopes = [
        variable.transform.slope(u[..., i]).flatten()[pairs]
        for i, variable in enumerate(map(problem.layout.variable, stream.operator.inputs))
        if variable is not None
    ]
    with torch.no_grad():
        out = stream.operator.linearise(values[pairs], stream.geometry.flatten()[pairs])
    by_u = out.jacobian * torch.stack(slopes, -1).to(out.jacobian)[:, None]
    known = prediction.detach().flatten(0, 1)[pairs]
    missed = model_residual(stream, u.flatten(0, 1)[pairs], by_u, known, pairs)
    nothing = prediction.detach().flatten(0, 1) * 0
    return nothing.index_add(0, pairs, missed).view(prediction.shape)


def cost_gradient(
    problem: Problem, x: Float[Tensor, "knots pixels m"], c: Float[Tensor, "pixels n"]
) -> tuple[Float[Tensor, "knots pixels m"], Float[Tensor, "pixels n"]]:
    """Gradient of the negative log posterior, weights and spreads taken at the state itself.

    Parameters
    ----------
    problem : Problem
    x : Tensor, shape (K, P, m)
    c : Tensor, shape (P, n)
        Deviations from the prior mean.

    Returns
    -------
    by_x, by_c : Tensor
        Of the shapes of ``x`` and ``c``; zero at a solution. Differentiable by ``x``, ``c`` and by
        every tensor in the problem.
    """
    with torch.enable_grad():
        if not x.requires_grad:
            x = x.detach().requires_grad_()
        if not c.requires_grad:
            c = c.detach().requires_grad_()
        layout = problem.layout
        weights = jump_weights(problem.transitions, x)
        by_x, _ = prior_force(markov_prior(problem.transitions, weights), x)
        by_x = by_x - ceiling(problem, x)[1]
        by_c = c / layout.prior_sd_c().to(c) ** 2
        for stream in problem.streams:
            prediction, offset, _ = _prediction(problem, stream, x, c)
            linear = Linear(prediction + offset, prediction[..., None])
            frozen = freeze(stream, linear)
            local = local_state(stream, x, c)
            difference = residual(stream, linear, frozen, local)
            pull = channel_weight(stream, frozen, difference) * difference
            z = local[..., stream.misfit.clamp(min=0)] * (stream.misfit >= 0)
            # The cost's derivative holds the gain fixed; the gradient's derivative does not.
            moved = prediction + offset + _constant_in_backward(frozen.gain, z)
            part = torch.autograd.grad(moved, (x, c), pull, create_graph=True, allow_unused=True)
            by_x = by_x - (part[0] if part[0] is not None else torch.zeros_like(x))
            by_c = by_c - (part[1] if part[1] is not None else torch.zeros_like(c))
    return by_x, by_c


def _constant_in_backward(gain: Tensor, z: Tensor) -> Tensor:
    """Product of gain and z whose first derivative is that of z alone."""
    out: Tensor = _GainTimes.apply(gain, z)  # type: ignore[no-untyped-call]
    return out


class _GainTimes(torch.autograd.Function):
    """gain z, differentiated by z only, the derivative keeping its dependence on the gain."""

    @staticmethod
    def forward(context: Any, gain: Tensor, z: Tensor) -> Tensor:
        context.save_for_backward(gain)
        return gain * z

    @staticmethod
    def backward(context: Any, upstream: Tensor) -> tuple[None, Tensor]:
        (gain,) = context.saved_tensors
        return None, upstream * gain


class _Implicit(torch.autograd.Function):
    """The solution as a function of the gradient that vanishes there."""

    @staticmethod
    def forward(
        context: Any,
        by_x: Tensor,
        by_c: Tensor,
        x: Tensor,
        c: Tensor,
        solve: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    ) -> tuple[Tensor, Tensor]:
        context.solve = solve
        return x.clone(), c.clone()

    @staticmethod
    def backward(context: Any, vx: Tensor, vc: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        lx, lc = context.solve(vx, vc)
        return -lx, -lc, None, None, None


def attach(
    problem: Problem,
    state: State,
    *,
    tolerance: float = ADJOINT_TOLERANCE,
    directions: int = KRYLOV,
) -> Attached:
    """Solution with gradients to everything in the problem that asks for them.

    Parameters
    ----------
    problem : Problem
        Whose tensors may require gradients: observations, noise, clear probabilities, parameters
        of an operator or of its spread.
    state : State
        A converged solution of it: how far the gradient is from zero is how wrong the derivatives
        are.
    tolerance : float
        Residual of the adjoint's linear system at which it ends, relative; training bears 1e-3.
    directions : int
        Krylov directions at most.

    Returns
    -------
    Attached

    Notes
    -----
    With g(x, theta) the gradient of the cost, dx/dtheta = -(dg/dx)^-1 dg/dtheta; for a loss L the
    adjoint solves (dg/dx)' lambda = dL/dx by GMRES [1]_, preconditioned by the posterior precision,
    all pixels together but each with its own Krylov space.

    References
    ----------
    .. [1] Saad and Schultz, 1986, SIAM Journal on Scientific and Statistical Computing 7(3),
       856-869, doi:10.1137/0907058.
    """
    # What the adjoint closes over has no graph of its own, or each solve would keep itself alive.
    x0, c0 = state.x.detach().to(torch.float64), state.c.detach().to(torch.float64)
    with torch.no_grad():
        here = start(problem, x0, c0)
        prior = markov_prior(problem.transitions, here.weights)
        factors = newton_step(problem, here, prior)

    def adjoint(vx: Tensor, vc: Tensor) -> tuple[Tensor, Tensor]:
        at_x, at_c = x0.clone().requires_grad_(), c0.clone().requires_grad_()
        gx, gc = cost_gradient(problem, at_x, at_c)

        def transposed(lx: Tensor, lc: Tensor) -> tuple[Tensor, Tensor]:
            out = torch.autograd.grad((gx, gc), (at_x, at_c), (lx, lc), retain_graph=True)
            return out[0], out[1]

        ends = (tolerance, directions)
        return _gmres(transposed, lambda rx, rc: backsolve(factors, rx, rc), vx, vc, ends)

    by_x, by_c = cost_gradient(problem, x0, c0)
    x, c = _Implicit.apply(by_x, by_c, x0, c0, adjoint)  # type: ignore[no-untyped-call]
    linear = tuple(linearise_with_graph(problem, s, x, c) for s in problem.streams)
    frozen = tuple(freeze(s, part) for s, part in zip(problem.streams, linear, strict=True))
    weights = jump_weights(problem.transitions, x)
    attached = dataclasses.replace(here, x=x, c=c, linear=linear, frozen=frozen, weights=weights)
    step = newton_step(problem, attached, markov_prior(problem.transitions, weights))
    return Attached(x, c, step, attached)


def _gmres(
    operator: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    precondition: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    vx: Float[Tensor, "knots pixels m"],
    vc: Float[Tensor, "pixels n"],
    ends: tuple[float, int],
) -> tuple[Float[Tensor, "knots pixels m"], Float[Tensor, "pixels n"]]:
    """Solve operator(l) = v, preconditioned from the right, pixel by pixel side by side."""
    shape = vx.shape
    n_pixels = shape[1]

    def joined(ax: Tensor, ac: Tensor) -> Tensor:
        return torch.cat([ax.transpose(0, 1).flatten(1), ac], 1)

    def parted(a: Tensor) -> tuple[Tensor, Tensor]:
        size = shape[0] * shape[2]
        return a[:, :size].view(n_pixels, shape[0], shape[2]).transpose(0, 1), a[:, size:]

    start_vector = joined(vx, vc)
    length = start_vector.norm(dim=1, keepdim=True)
    basis = [start_vector / length.clamp(min=torch.finfo(vx.dtype).tiny)]
    columns: list[Tensor] = []
    coefficients = length[..., None] * 0
    tolerance, directions = ends
    for k in range(min(directions, start_vector.shape[1])):
        w = joined(*operator(*precondition(*parted(basis[-1]))))
        projections = []
        for _ in range(2):  # twice, so that the basis stays orthogonal to rounding
            done = torch.stack(basis, -1)
            along = (w[:, None] @ done)[:, 0]
            w = w - (done @ along[..., None])[..., 0]
            projections.append(along)
        norm = w.norm(dim=1, keepdim=True)
        columns.append(torch.cat([sum(projections[1:], projections[0]), norm], 1))
        basis.append(w / norm.clamp(min=torch.finfo(w.dtype).tiny))
        size = k + 1
        hessenberg = torch.stack(
            [torch.nn.functional.pad(col, (0, size + 1 - col.shape[1])) for col in columns], -1
        )
        target = torch.nn.functional.pad(length, (0, size))[..., None]
        coefficients = torch.linalg.pinv(hessenberg, rtol=1e-15) @ target
        left = (target - hessenberg @ coefficients).norm(dim=(1, 2))
        if bool((left <= tolerance * length[:, 0]).all()):
            break
    solution = (torch.stack(basis[: len(columns)], -1) @ coefficients)[..., 0]
    return precondition(*parted(solution))
