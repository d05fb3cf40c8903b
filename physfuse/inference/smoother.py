"""The exact solve: a block-tridiagonal system of days with a border of constants.

Pixels are the leading batch axis of every block, so that one batched matrix product, Cholesky or
triangular solve per knot serves all of them; constants leave by one Schur complement per pixel.
Everything is built from differentiable operations without in-place writes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

CORNER_KNOTS = 4  # knots whose share of the constants' block is taken off together


class BorderedSystem(NamedTuple):
    """Precision and information of (x_1..x_K, c) for a batch of pixels, float64.

    Attributes
    ----------
    diagonal : Tensor, shape (K, P, m, m)
        Precision of each knot.
    upper : Tensor, shape (K-1, P, m, m)
        Precision between knot k and knot k+1.
    border : Tensor, shape (K, P, m, n)
        Precision between each knot and the constants.
    corner : Tensor, shape (P, n, n)
        Precision of the constants.
    x_information : Tensor, shape (K, P, m)
    c_information : Tensor, shape (P, n)
    """

    diagonal: Float[Tensor, "knots pixels m m"]
    upper: Float[Tensor, "steps pixels m m"]
    border: Float[Tensor, "knots pixels m n"]
    corner: Float[Tensor, "pixels n n"]
    x_information: Float[Tensor, "knots pixels m"]
    c_information: Float[Tensor, "pixels n"]


class Knot(NamedTuple):
    """What the elimination adds when it reaches one knot.

    Attributes
    ----------
    rows : Tensor, shape (P, m, m + n + 1)
        Its precision, its precision with the constants, its information.
    upper : Tensor, shape (P, m, m), or None
        Precision between it and the next knot; None at the last one.
    constants : tuple of Addend
        What its observations add to the precision and information of the constants.
    """

    rows: Float[Tensor, "pixels m columns"]
    upper: Float[Tensor, "pixels m m"] | None
    constants: tuple[Addend, ...] = ()


class Addend(NamedTuple):
    """A product left' right to be added to the blocks of some pixels, without storing it.

    Attributes
    ----------
    pixel : Tensor of int, shape (N,), or None
        Pixel of each product, any number of them for one pixel; None for one product of every
        pixel in order.
    left : Tensor, shape (N, rows, a)
    right : Tensor, shape (N, rows, b)
    """

    pixel: Int[Tensor, " products"] | None
    left: Float[Tensor, "products rows a"]
    right: Float[Tensor, "products rows b"]

    def added_to(self, blocks: Float[Tensor, "pixels a b"]) -> Float[Tensor, "pixels a b"]:
        """Blocks with the products added."""
        if self.pixel is None:
            return torch.baddbmm(blocks, self.left.mT, self.right)
        return blocks.index_add(0, self.pixel, self.left.mT @ self.right)


class Factorisation(NamedTuple):
    """Cholesky factorisation of a bordered system, with its solution.

    Attributes
    ----------
    inverse_factor : tuple of K tensors, shape (P, m, m)
        L_k^-1, lower triangular.
    coupling : tuple of K-1 tensors, shape (P, m, m)
        Y_k = L_k^-1 U_k.
    border : tuple of K tensors, shape (P, m, n)
        Z_k = L_k^-1 B'_k, B' the border after elimination of the earlier knots.
    corner_factor : Tensor, shape (P, n, n)
        Cholesky factor of the Schur complement of the constants.
    x : Tensor, shape (K, P, m)
    c : Tensor, shape (P, n)
        The solution.
    explained : Tensor, shape (P,)
        Information times solution: for a Newton step its squared length in the metric of the
        precision.
    positive : Tensor of bool, shape (P,)
        Whether every factor existed; where not, the pixel's numbers have no meaning.
    """

    inverse_factor: tuple[Tensor, ...]
    coupling: tuple[Tensor, ...]
    border: tuple[Tensor, ...]
    corner_factor: Float[Tensor, "pixels n n"]
    x: Float[Tensor, "knots pixels m"]
    c: Float[Tensor, "pixels n"]
    explained: Float[Tensor, " pixels"]
    positive: Tensor


class Marginals(NamedTuple):
    """Posterior covariances.

    Attributes
    ----------
    xx : Tensor, shape (K, P, m, m)
        Of each knot.
    lag : Tensor, shape (K-1, P, m, m)
        Between knot k and knot k+1.
    xc : Tensor, shape (K, P, m, n)
        Between each knot and the constants.
    cc : Tensor, shape (P, n, n)
        Of the constants.
    """

    xx: Float[Tensor, "knots pixels m m"]
    lag: Float[Tensor, "steps pixels m m"]
    xc: Float[Tensor, "knots pixels m n"]
    cc: Float[Tensor, "pixels n n"]


def factorise(system: BorderedSystem) -> Factorisation:
    """Factorise and solve a bordered system.

    Parameters
    ----------
    system : BorderedSystem
        At least one knot; n may be 0.

    Returns
    -------
    Factorisation
    """
    rows = torch.cat([system.diagonal, system.border, system.x_information[..., None]], -1)
    corner = torch.cat([system.corner, system.c_information[..., None]], -1)
    uppers = [*system.upper, None]
    return eliminate((Knot(*parts) for parts in zip(rows, uppers, strict=True)), corner)


def eliminate(knots: Iterable[Knot], corner: Float[Tensor, "pixels n columns"]) -> Factorisation:
    """Factorise and solve, the blocks of each knot being asked for only when it is reached.

    Parameters
    ----------
    knots : iterable of Knot
        K of them in the order of time, at least one.
    corner : Tensor, shape (P, n, n + 1)
        Prior precision and information of the constants.

    Returns
    -------
    Factorisation

    Notes
    -----
    Forward: L_k L_k' = D_k - Y_{k-1}' Y_{k-1}, [Y_k | Z_k | y_k] = L_k^-1 [U_k | B_k | b_k]' with
    the border and information reduced alike; the constants solve
    (S - sum Z_k' Z_k) c = s - sum Z_k' y_k; backward: x_k = L_k^-T (y_k - Y_k x_{k+1} - Z_k c).
    """
    n = corner.shape[-2]
    inverses: list[Tensor] = []
    reduced: list[Tensor] = []  # [Y_k | Z_k | y_k]
    failed: list[Tensor] = []
    pending: list[Tensor] = []
    reduction: Tensor | None = None
    eye: Tensor | None = None
    for knot in knots:
        rows = knot.rows if reduction is None else knot.rows - reduction
        m = rows.shape[-2]
        if eye is None:
            eye = torch.eye(m, dtype=rows.dtype, device=rows.device).expand(len(rows), m, m)
        factor, info = torch.linalg.cholesky_ex(rows[..., :m])
        failed.append(info)
        inverse = torch.linalg.solve_triangular(factor, eye, upper=False)
        inverses.append(inverse)
        rest = rows[..., m:]
        joined = inverse @ (rest if knot.upper is None else torch.cat([knot.upper, rest], -1))
        reduced.append(joined)
        if knot.upper is not None:
            reduction = joined[..., :m].mT @ joined
        pending.append(joined[..., -1 - n :])
        if len(pending) == CORNER_KNOTS:
            corner, pending = _reduced_corner(corner, pending), []
        for addend in knot.constants:
            corner = addend.added_to(corner)
    corner = _reduced_corner(corner, pending)
    corner_factor, info = torch.linalg.cholesky_ex(corner[..., :n])
    failed.append(info)
    y_c = torch.linalg.solve_triangular(corner_factor, corner[..., n:], upper=False)
    c = torch.linalg.solve_triangular(corner_factor.mT, y_c, upper=True)
    information = torch.stack([joined[..., -1] for joined in reduced])
    explained = information.square().sum((0, 2)) + y_c.square().sum((1, 2))
    return Factorisation(
        tuple(inverses),
        tuple(joined[..., : -1 - n] for joined in reduced[:-1]),
        tuple(joined[..., -1 - n : -1] for joined in reduced),
        corner_factor,
        _back_substitute(inverses, reduced, c),
        c[..., 0],
        explained,
        (torch.stack(failed) == 0).all(0),
    )


def backsolve(
    factors: Factorisation,
    x: Float[Tensor, "knots pixels m"],
    c: Float[Tensor, "pixels n"],
) -> tuple[Float[Tensor, "knots pixels m"], Float[Tensor, "pixels n"]]:
    """Solve with a precision that has been factorised, for another information.

    Parameters
    ----------
    factors : Factorisation
    x : Tensor, shape (K, P, m)
    c : Tensor, shape (P, n)
        Information.

    Returns
    -------
    x, c : Tensor
        The solution, of the same shapes.
    """
    information: list[Tensor] = []
    rest = c[..., None]
    for k, inverse in enumerate(factors.inverse_factor):
        own = x[k][..., None]
        if k:
            own = own - factors.coupling[k - 1].mT @ information[-1]
        information.append(inverse @ own)
        rest = rest - factors.border[k].mT @ information[-1]
    y_c = torch.linalg.solve_triangular(factors.corner_factor, rest, upper=False)
    known = torch.linalg.solve_triangular(factors.corner_factor.mT, y_c, upper=True)
    out: list[Tensor] = []
    for k in reversed(range(len(information))):
        left = information[k] - factors.border[k] @ known
        if out:
            left = left - factors.coupling[k] @ out[-1]
        out.append(factors.inverse_factor[k].mT @ left)
    return torch.stack(out[::-1])[..., 0], known[..., 0]


def _reduced_corner(corner: Tensor, border: list[Tensor]) -> Tensor:
    """Block of the constants less Z_k' [Z_k | y_k] of some knots."""
    if not border:
        return corner
    z = torch.cat(border, -2)
    return torch.baddbmm(corner, z[..., :-1].mT, z, alpha=-1)


def _back_substitute(inverses: list[Tensor], reduced: list[Tensor], c: Tensor) -> Tensor:
    """x_k = L_k^-T (y_k - Y_k x_{k+1} - Z_k c), from the last knot to the first."""
    known = torch.cat([c, c.new_full((len(c), 1, 1), -1.0)], 1)
    out: list[Tensor] = []
    for inverse, joined in zip(reversed(inverses), reversed(reduced), strict=True):
        later = torch.cat([out[-1], known], 1) if out else known
        out.append(-(inverse.mT @ (joined @ later)))
    return torch.stack(out[::-1])[..., 0]


def marginals(factors: Factorisation) -> Marginals:
    """Every covariance block next to the diagonal and with the constants.

    Parameters
    ----------
    factors : Factorisation

    Returns
    -------
    Marginals

    Notes
    -----
    Without the border Sigma_k = L_k^-T (I + Y_k Sigma_{k+1} Y_k') L_k^-1 and
    Sigma_{k,k+1} = -G_k Sigma_{k+1}, G_k = L_k^-T Y_k (Takahashi's recursion). With V_k = L_k^-T
    (Z_k - Y_k V_{k+1}) and C the covariance of c, the border adds V_k C V_l' to block (k, l), and
    the block with the constants is -V_k C.
    """
    corner_factor = factors.corner_factor
    n = corner_factor.shape[-1]
    eye = torch.eye(n, dtype=corner_factor.dtype, device=corner_factor.device)
    root = torch.linalg.solve_triangular(corner_factor, eye.expand_as(corner_factor), upper=False)
    cc = root.mT @ root
    n_knots = len(factors.border)
    xx: list[Tensor] = []
    lag: list[Tensor] = []
    xc: list[Tensor] = []
    sigma = v = w = factors.border[-1]
    for k in reversed(range(n_knots)):
        inverse = factors.inverse_factor[k]
        if k == n_knots - 1:
            sigma = inverse.mT @ inverse
            v = inverse.mT @ factors.border[k]
            w = v @ root.mT
        else:
            gain = inverse.mT @ factors.coupling[k]
            v = inverse.mT @ factors.border[k] - gain @ v
            w_next, w = w, v @ root.mT
            between = -gain @ sigma
            lag.append(between + w @ w_next.mT)
            sigma = inverse.mT @ inverse - between @ gain.mT
        xx.append(sigma + w @ w.mT)
        xc.append(-w @ root)
    empty = sigma.new_zeros(0, *sigma.shape)
    return Marginals(
        torch.stack(xx[::-1]), torch.stack(lag[::-1]) if lag else empty, torch.stack(xc[::-1]), cc
    )


def log_determinant(factors: Factorisation) -> Float[Tensor, " pixels"]:
    """Logarithm of the determinant of the whole precision matrix of each pixel."""
    diagonals = [f.diagonal(dim1=-2, dim2=-1).log().sum(-1) for f in factors.inverse_factor]
    corner = factors.corner_factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return 2 * corner - 2 * torch.stack(diagonals).sum(0)
