"""What data, physics and learned parts each contribute, as functions of tensors."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def degrees_of_freedom(
    posterior_variance: Float[Tensor, "*batch"], prior_variance: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch"]:
    """How much of a variable's prior spread the data took away.

    Parameters
    ----------
    posterior_variance, prior_variance : Tensor, shape (...)
        In the unconstrained space, the prior's above 0; both under the same dynamics.

    Returns
    -------
    Tensor, shape (...)
        1 - posterior over prior variance, in 0-1: 0 without data. [1]

    References
    ----------
    .. [1] Rodgers, C. D., 2000, Inverse Methods for Atmospheric Sounding, World Scientific,
       doi:10.1142/3171, section 2.4.
    """
    return (1 - posterior_variance / prior_variance).clamp(0, 1)


def sensor_share(
    variance: Float[Tensor, "*batch"], variance_less: Float[Tensor, "*batch"], step: float
) -> Float[Tensor, "*batch"]:
    """Share of a sensor in what is known of a variable.

    Parameters
    ----------
    variance : Tensor, shape (...)
        Posterior, above 0.
    variance_less : Tensor, shape (...)
        Posterior with the sensor's precision scaled by ``1 - step``.
    step : float
        Above 0, small.

    Returns
    -------
    Tensor, shape (...)
        e'P L P e / e'P e with L the sensor's precision, in 0-1; over all sensors and the prior it
        adds up to one. [1]
    """
    return ((variance_less - variance) / (step * variance)).clamp(0, 1)


def shift_in_sd(
    mean: Float[Tensor, "*batch"], other: Float[Tensor, "*batch"], sd: Float[Tensor, "*batch"]
) -> tuple[float, float]:
    """Distance of two estimates in posterior standard deviations.

    Parameters
    ----------
    mean, other : Tensor, shape (...)
        In the unconstrained space.
    sd : Tensor, shape (...)
        Above 0.

    Returns
    -------
    median, q95 : float
        Median and 95 % quantile of the distance over all elements. [1]
    """
    distance = ((mean - other).abs() / sd).flatten().sort().values
    return _quantile(distance, 0.5), _quantile(distance, 0.95)


def _quantile(rising: Tensor, share: float) -> float:
    """Quantile of sorted values of any number (``torch.quantile`` takes 16 million)."""
    at = share * (len(rising) - 1)
    low = int(at)
    high = min(low + 1, len(rising) - 1)
    return float(rising[low] + (at - low) * (rising[high] - rising[low]))


def physics_share(
    moved: Float[Tensor, "*batch"], residual: Float[Tensor, "*batch"], seen: Bool[Tensor, "*batch"]
) -> Float[Tensor, "*batch"]:
    """Share of physics in what moves a prediction away from the prior's.

    Parameters
    ----------
    moved : Tensor, shape (...)
        Sum of squares of what the state explains: physics alone at the estimate less physics at
        the prior mean.
    residual : Tensor, shape (...)
        Sum of squares of the learned residual over the same observations.
    seen : Tensor of bool, shape (...)
        Whether there was any.

    Returns
    -------
    Tensor, shape (...)
        m / (m + r) with the roots m and r of the two sums, in 0-1: 1 for no residual, 0 where
        nothing but the residual moves the prediction; NaN where nothing was observed. [1]

    Notes
    -----
    Amplitudes, not variances: with squares a residual of a quarter of what physics explains would
    pass as 6 %.
    """
    physics, learned = moved.sqrt(), residual.sqrt()
    total = physics + learned
    share = physics / torch.where(total > 0, total, torch.ones_like(total))
    share = torch.where(learned > 0, share, torch.ones_like(share))
    return torch.where(seen, share, torch.full_like(share, torch.nan))


def sums_by_date(
    values: Float[Tensor, "pixels acquisitions channels"],
    valid: Bool[Tensor, "pixels acquisitions channels"],
    date: Int[Tensor, "pixels acquisitions"],
    n_dates: int,
) -> Float[Tensor, "dates channels"]:
    """Sums over the valid observations of each date, in double precision.

    Parameters
    ----------
    values, valid : Tensor, shape (P, A, C)
    date : Tensor of int, shape (P, A)
        Date of each acquisition, 0 to ``n_dates - 1``.
    n_dates : int

    Returns
    -------
    Tensor, shape (n_dates, C)
    """
    kept = torch.where(valid, values, torch.zeros_like(values)).flatten(0, 1).double()
    return kept.new_zeros(n_dates, values.shape[-1]).index_add(0, date.flatten(), kept)


def information(
    jacobian: Float[Tensor, "*batch channels inputs"],
    prior_sd: Float[Tensor, "*batch inputs"],
    sd: Float[Tensor, "*batch channels"],
    valid: Bool[Tensor, "*batch channels"],
) -> Float[Tensor, "*batch"]:
    """Information content of single acquisitions.

    Parameters
    ----------
    jacobian : Tensor, shape (..., C, V)
        Of the channels by the unconstrained inputs.
    prior_sd : Tensor, shape (..., V)
        Prior standard deviations of these; 0 for what is fixed.
    sd : Tensor, shape (..., C)
        Noise, above 0.
    valid : Tensor of bool, shape (..., C)

    Returns
    -------
    Tensor, shape (...)
        log det(A A' + I) / 2 with A = R^-1/2 J prior_sd, from 0; the same in any coordinates of
        the state. [nat]

    References
    ----------
    .. [1] Rodgers, C. D., 2000, Inverse Methods for Atmospheric Sounding, World Scientific,
       doi:10.1142/3171, section 2.5.
    """
    weight = torch.where(valid, sd.double().reciprocal(), torch.zeros_like(sd, dtype=torch.float64))
    white = jacobian.double() * prior_sd.double()[..., None, :] * weight[..., None]
    eye = torch.eye(white.shape[-2], dtype=white.dtype, device=white.device)
    root = torch.linalg.cholesky(white @ white.mT + eye)
    nats: Tensor = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return nats


def fisher_retention(
    jacobian: Float[Tensor, "*batch channels inputs"],
    prior_sd: Float[Tensor, "*batch inputs"],
    sd: Float[Tensor, "*batch channels"],
    physics_sd: Float[Tensor, "*batch channels"],
    valid: Bool[Tensor, "*batch channels"],
) -> tuple[float, float]:
    """Information of acquisitions under a learned and under the physics' own noise.

    Parameters
    ----------
    jacobian, prior_sd, valid : Tensor
        As for :func:`information`.
    sd, physics_sd : Tensor, shape (..., C)
        Learned noise and that of physics.

    Returns
    -------
    learned, physics : float
        Sums over all acquisitions, each taken alone; their ratio is what the learned noise has
        left. [nat]
    """
    mine, other = (information(jacobian, prior_sd, s, valid) for s in (sd, physics_sd))
    return float(mine.sum()), float(other.sum())
