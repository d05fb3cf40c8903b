"""Gaussian likelihood factors made by networks: thin, positive semi-definite, additive.

A factor on the local state s of one acquisition (the variables that its operator reads, as
deviations from their prior in prior standard deviations) and on a bias z of each channel is the
likelihood exp(-|t - G s - b z|^2 / 2) with one row of G, one b and one t for each channel. Its
precision is [G b]' [G b], whatever the numbers, and a channel whose row, b and t are zero says
nothing. It is the form of a linearised operator whose noise is one.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from physfuse.radiative.errors import DomainError


class Factor(NamedTuple):
    """Likelihood exp(-|target - rows s - bias z|^2 / 2) of the local state and the biases.

    Attributes
    ----------
    rows : Tensor, shape (..., C, V)
        Derivatives of the channels in units of their noise, by the whitened variables. [1]
    bias : Tensor, shape (..., C)
        The same by each channel's own bias, in the bias's unit.
    target : Tensor, shape (..., C)
        [1]
    """

    rows: Float[Tensor, "*batch channels variables"]
    bias: Float[Tensor, "*batch channels"]
    target: Float[Tensor, "*batch channels"]

    @property
    def design(self) -> Float[Tensor, "*batch channels columns"]:
        """Rows of the variables and of the biases side by side, shape (..., C, V + C)."""
        return torch.cat([self.rows, torch.diag_embed(self.bias)], -1)

    @property
    def precision(self) -> Float[Tensor, "*batch columns columns"]:
        """Precision of (s, z), positive semi-definite, shape (..., V + C, V + C)."""
        design = self.design
        return design.mT @ design

    @property
    def information(self) -> Float[Tensor, "*batch columns"]:
        """Information vector of (s, z), shape (..., V + C)."""
        return (self.design.mT @ self.target[..., None])[..., 0]


def log_posterior(
    factor: Factor,
    state: Float[Tensor, "*batch variables"],
    bias: Float[Tensor, "*batch channels"],
    prior_sd: Float[Tensor, " variables"],
    bias_sd: Float[Tensor, " channels"],
) -> Float[Tensor, "*batch"]:
    """Log density of (s, z) under prior times factor, less that under the prior.

    Parameters
    ----------
    factor : Factor
    state : Tensor, shape (..., V)
        Whitened deviations from the prior mean. [1]
    bias : Tensor, shape (..., C)
        Bias of each channel, prior mean 0.
    prior_sd : Tensor, shape (V,)
        Of the prior from which the pairs were drawn, in the units of ``state``; above 0.
    bias_sd : Tensor, shape (C,)
        The same of the biases; above 0.

    Returns
    -------
    Tensor, shape (...)
        log q(s, z | y) - log p_train(s, z), zero for a factor that says nothing. [nat]

    Notes
    -----
    With residual e = t - G s - b z and M = I + G P G' + b^2 diag(bias_sd^2) it is
    (t' M^-1 t - e' e + log det M) / 2: Bayes' rule, with only C x C matrices. Its mean over draws
    of the joint distribution is largest where the factor times the prior has the mean and
    covariance of the posterior, as far as its form allows.
    """
    scaled = factor.rows * prior_sd
    eye = torch.eye(scaled.shape[-2], dtype=scaled.dtype, device=scaled.device)
    evidence = scaled @ scaled.mT + torch.diag_embed((factor.bias * bias_sd) ** 2) + eye
    residual = factor.target - (factor.rows @ state[..., None])[..., 0] - factor.bias * bias
    root = torch.linalg.cholesky(evidence)
    white = torch.linalg.solve_triangular(root, factor.target[..., None], upper=False)[..., 0]
    half_log_det = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    gain: Tensor = 0.5 * (white.square().sum(-1) - residual.square().sum(-1)) + half_log_det
    return gain


def posterior_moments(
    factor: Factor, prior_sd: Float[Tensor, " columns"]
) -> tuple[Float[Tensor, "*batch columns"], Float[Tensor, "*batch columns columns"]]:
    """Mean and covariance of (s, z) under a prior of mean zero times the factor.

    Parameters
    ----------
    factor : Factor
    prior_sd : Tensor, shape (V + C,)
        Prior standard deviations of the whitened variables (1 for the state table's own prior) and
        of the biases.

    Returns
    -------
    mean : Tensor, shape (..., V + C)
    covariance : Tensor, shape (..., V + C, V + C)
        Positive definite.
    """
    root = torch.linalg.cholesky(factor.precision + torch.diag(prior_sd**-2))
    eye = torch.eye(len(prior_sd), dtype=root.dtype, device=root.device)
    inverse = torch.linalg.solve_triangular(root, eye.expand_as(root), upper=False)
    covariance = inverse.mT @ inverse
    return (covariance @ factor.information[..., None])[..., 0], covariance


def refuse_repeats(
    sensor: str,
    time: Int[Tensor, " acquisitions"],
    pixel: Int[Tensor, " acquisitions"],
    values: Float[Tensor, "acquisitions channels"] | None = None,
) -> None:
    """Raise if one acquisition of a pixel stands twice: its factor would be counted twice.

    Parameters
    ----------
    sensor : str
        Named in the message.
    time : Tensor of int, shape (N,)
        Acquisition time in any whole unit.
    pixel : Tensor of int, shape (N,)
    values : Tensor, shape (N, C), optional
        What was observed, the same number where nothing was. Needed where ``time`` is coarser than
        the revisit (days): two passes on one day are two acquisitions, and differ.

    Raises
    ------
    DomainError
        If a (time, pixel), or (time, pixel, values) where given, stands more than once.
    """
    key = torch.stack([time, pixel], -1)
    _, place, count = torch.unique(
        time * (pixel.max() + 1 if len(pixel) else 1) + pixel,
        return_inverse=True,
        return_counts=True,
    )
    several = (count[place] > 1).nonzero()[:, 0]
    if values is not None and len(several):
        both = torch.cat([key[several].to(torch.float64), values[several].to(torch.float64)], -1)
        count = torch.unique(both, dim=0, return_counts=True)[1]
    repeats = int((count - 1).sum())
    if repeats:
        raise DomainError(
            f"{repeats} of {len(time)} {sensor} acquisitions stand twice at the same time and "
            "pixel; each may be assimilated once: drop the repeats, for example with "
            "cube.drop_duplicates('time')"
        )
