"""ResidualNet: what physics misses of an observation, where the state cannot explain it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .network import perceptron

EXPLAINED = 0.05
"""Degrees of freedom from which a variable counts as seen by an acquisition."""


class ResidualNet(nn.Module):
    """Bounded residual, orthogonal to every direction in which the state moves the channels.

    Parameters
    ----------
    n_state : int
        Number of state features that the net reads.
    n_geometry : int
        Number of geometry features.
    n_channels : int
        Number C of channels.
    generator : torch.Generator
        Source of the first weights.
    hidden : sequence of int
        Widths of the hidden layers.
    kappa : float
        Bound of the net's part in units of ``model_sd``, above 0.

    Notes
    -----
    r = (I - Pi) kappa sigma_H tanh(net(x, geometry)) with Pi of :func:`explained_projector`. The
    net reads a detached state, and the projector is taken at a detached Jacobian: otherwise it
    would make information about the state. Zero until it is trained. The projector never
    lengthens in the metric of the noise: sum (r / sd)^2 <= kappa^2 sum (sigma_H / sd)^2. Channels
    without weight (``sd`` infinite) get no residual.
    """

    def __init__(
        self,
        n_state: int,
        n_geometry: int,
        n_channels: int,
        generator: torch.Generator,
        *,
        hidden: Sequence[int] = (32, 32),
        kappa: float = 2.0,
    ) -> None:
        super().__init__()
        self.kappa = kappa
        n_inputs = n_state + n_geometry
        self.network = perceptron(n_inputs, hidden, n_channels, generator, zero_at_start=True)

    def forward(
        self,
        state: Float[Tensor, "*batch variables"],
        geometry: Float[Tensor, "*batch features"],
        jacobian: Float[Tensor, "*batch channels inputs"],
        prior_sd: Float[Tensor, " inputs"],
        sd: Float[Tensor, "*batch channels"],
        model_sd: Float[Tensor, "*batch channels"],
    ) -> Float[Tensor, "*batch channels"]:
        """Residual of each channel.

        Parameters
        ----------
        state : Tensor, shape (..., n_state)
            Whitened state. [1]
        geometry : Tensor, shape (..., n_geometry)
            [1]
        jacobian : Tensor, shape (..., C, V)
            Of the operator by the unconstrained state.
        prior_sd : Tensor, shape (V,)
            Prior standard deviations of that state, above 0.
        sd : Tensor, shape (..., C)
            Noise of the channels, above 0; infinite for a channel that is not valid.
        model_sd : Tensor, shape (..., C)
            sigma_H, spread of the operator's own error, finite; in the channels' unit.

        Returns
        -------
        Tensor, shape (..., C)
            In the channels' unit.
        """
        weight = sd.detach().reciprocal()
        projector = explained_projector(jacobian.detach(), prior_sd, sd.detach())
        free = torch.tanh(self.network(torch.cat([state.detach(), geometry], -1)))
        scaled = self.kappa * weight * model_sd * free
        scaled = scaled - (projector.to(scaled.dtype) @ scaled[..., None])[..., 0]
        # A zero weight is replaced before the division: its slope would be NaN, not zero.
        known = weight > 0
        return torch.where(known, scaled / torch.where(known, weight, 1.0), 0.0)


def degrees_of_freedom(
    jacobian: Float[Tensor, "*batch channels inputs"],
    prior_sd: Float[Tensor, " inputs"],
    sd: Float[Tensor, "*batch channels"],
) -> Float[Tensor, "*batch inputs"]:
    """How much of each variable's spread one acquisition takes away.

    Parameters
    ----------
    jacobian, prior_sd, sd : Tensor
        As in :meth:`ResidualNet.forward`.

    Returns
    -------
    Tensor, shape (..., V)
        Diagonal of (A'A + I)^-1 A'A, A = R^-1/2 J prior_sd; in [0, 1). [1]

    References
    ----------
    .. [1] Rodgers, C. D., 2000, Inverse Methods for Atmospheric Sounding, World Scientific,
       doi:10.1142/3171, section 2.4.
    """
    white = _white(jacobian, prior_sd, sd)
    eye = torch.eye(white.shape[-2], dtype=white.dtype, device=white.device)
    # One minus posterior over prior variance, through the C x C evidence.
    root = torch.linalg.cholesky(white @ white.mT + eye)
    taken: Tensor = torch.linalg.solve_triangular(root, white, upper=False).square().sum(-2)
    return taken


def explained_projector(
    jacobian: Float[Tensor, "*batch channels inputs"],
    prior_sd: Float[Tensor, " inputs"],
    sd: Float[Tensor, "*batch channels"],
) -> Float[Tensor, "*batch channels channels"]:
    """Orthogonal projector, on channels in units of their noise, onto what the state explains.

    Parameters
    ----------
    jacobian, prior_sd, sd : Tensor
        As in :meth:`ResidualNet.forward`.

    Returns
    -------
    Tensor, shape (..., C, C), float64
        Onto the columns of R^-1/2 J prior_sd whose degrees of freedom exceed 0.05; with R^1/2 and
        R^-1/2 around it, the R^-1-orthogonal projector in the channels' unit.
    """
    white = _white(jacobian, prior_sd, sd)
    seen = degrees_of_freedom(jacobian, prior_sd, sd) > EXPLAINED
    columns = torch.where(seen[..., None, :], white, torch.zeros_like(white))
    left, length, _ = torch.linalg.svd(columns, full_matrices=False)
    rank_limit = torch.finfo(length.dtype).eps * max(columns.shape[-2:]) * length[..., :1]
    basis = left * (length > rank_limit)[..., None, :]
    projector: Tensor = basis @ basis.mT
    return projector


def _white(jacobian: Tensor, prior_sd: Tensor, sd: Tensor) -> Tensor:
    """R^-1/2 J prior_sd in float64."""
    scale = prior_sd.to(torch.float64) / sd.to(torch.float64)[..., None]
    return jacobian.to(torch.float64) * scale
