"""What the noise of the dates around a day says about the noise on that day.

The solve takes the noise of every image as new. In part it is not: what the model cannot follow
(the angular shape of reflectance, haze left by the correction, a weed among the crop) lasts for
days. Of the noise's variance a share is therefore taken as an Ornstein-Uhlenbeck process, and the
residuals of the nearest images are carried to the day by the best linear predictor. Share and time
scale were chosen on the development targets of ``benchmarks/science/spain.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from physfuse.inference.likelihood import channel_weight, local_state, residual
from physfuse.inference.problem import Problem, State

LASTING_SHARE = 0.8  # of the variance of the noise
LASTING_DAYS = 40.0
NEAREST = 8  # images looked at


class Residuals(NamedTuple):
    """Residuals of all images of one sensor in units of their noise.

    Attributes
    ----------
    day : Tensor, shape (P, A)
        [day]
    value : Tensor, shape (P, A, C)
    variance : Tensor, shape (P, A, C)
        How far each may be trusted: 1 for an image without doubt, more for outliers and doubtful
        images, infinite where nothing was observed.
    """

    day: Float[Tensor, "pixels images"]
    value: Float[Tensor, "pixels images channels"]
    variance: Float[Tensor, "pixels images channels"]


class Carried(NamedTuple):
    """Noise expected on a day, in units of its standard deviation.

    Attributes
    ----------
    mean : Tensor, shape (P, C)
    explained : Tensor, shape (P, C)
        Share of the noise's variance that is known, 0 to below :data:`LASTING_SHARE`. [1]
    """

    mean: Float[Tensor, "pixels channels"]
    explained: Float[Tensor, "pixels channels"]


def residuals(
    problem: Problem,
    state: State,
    knot_day: Float[Tensor, " knots"],
    sensor: str,
    channels: Sequence[str],
    is_same: Callable[[str], bool] = lambda platform: True,
) -> Residuals:
    """Residuals of the images of a sensor at a solution.

    Parameters
    ----------
    problem : Problem
    state : State
    knot_day : Tensor, shape (K,)
        [day]
    sensor : {"optical", "radar"}
    channels : sequence of str, length C
        Which ones; a stream that has not got one saw nothing in it.
    is_same : callable
        Whether a platform's channels are those of these names; images of others are left out.

    Returns
    -------
    Residuals
        With no image where the sensor is not in the problem.
    """
    like = state.x
    days = [like.new_zeros(problem.n_pixels, 0)]
    values = [like.new_zeros(problem.n_pixels, 0, len(channels))]
    variances = list(values)
    for stream, linear, frozen in zip(problem.streams, state.linear, state.frozen, strict=True):
        platform = getattr(stream.operator, "platform", "")
        if stream.sensor != sensor or not is_same(platform):
            continue
        difference = residual(stream, linear, frozen, local_state(stream, state.x, state.c))
        weight = channel_weight(stream, frozen, difference) * frozen.sd**2
        own = list(stream.operator.channels)
        at = torch.tensor([own.index(c) if c in own else 0 for c in channels])
        known = torch.tensor([c in own for c in channels])
        days.append(knot_day.to(like)[stream.knot])
        values.append((difference / frozen.sd)[..., at] * known)
        trust = weight[..., at] * known
        variances.append(torch.where(trust > 0, 1 / torch.where(trust > 0, trust, 1.0), torch.inf))
    return Residuals(torch.cat(days, 1), torch.cat(values, 1), torch.cat(variances, 1))


def nearest(known: Residuals, day: Float[Tensor, "pixels days"]) -> Float[Tensor, "pixels days"]:
    """Distance to the nearest image in which anything was seen.

    Parameters
    ----------
    known : Residuals
    day : Tensor, shape (P, D)
        [day]

    Returns
    -------
    Tensor, shape (P, D)
        Infinite where there is none. [day]
    """
    seen = torch.isfinite(known.variance).any(-1)
    away = (known.day[:, None] - day[..., None]).abs()
    away = torch.where(seen[:, None], away, torch.inf)
    none = away.new_full((*away.shape[:-1], 1), torch.inf)
    return torch.cat([away, none], -1).amin(-1)


def carried(
    known: Residuals,
    day: float | Tensor,
    share: float | Tensor = LASTING_SHARE,
    timescale: float | Tensor = LASTING_DAYS,
) -> Carried:
    """Noise on a day, from the residuals of the images nearest to it.

    Parameters
    ----------
    known : Residuals
    day : float or Tensor, shape (P, 1)
        [day]
    share : float or Tensor, shape (C,)
        Of the noise's variance that lasts, in 0-1. [1]
    timescale : float or Tensor, shape (C,)
        Over which it falls to 1/e, above 0. [day]

    Returns
    -------
    Carried

    Notes
    -----
    With C_ij = share exp(-|t_i - t_j| / timescale), c_i the same between image and day, and D the
    rest of each image's variance: mean c'(C + D)^-1 r, explained c'(C + D)^-1 c [1]_.

    References
    ----------
    .. [1] Rasmussen and Williams, 2006, Gaussian Processes for Machine Learning, eq. 2.23-2.24.
    """
    n_pixels, n_images, n_channels = known.value.shape
    if n_images == 0:
        nothing = known.value.new_zeros(n_pixels, n_channels)
        return Carried(nothing, nothing)
    seen = torch.isfinite(known.variance)
    away = (known.day - day).abs()
    far = torch.where(seen.any(-1), away, torch.full_like(away, torch.inf))
    near = torch.topk(far, min(NEAREST, n_images), dim=1, largest=False).indices
    time = torch.gather(known.day, 1, near)
    pick = near[..., None].expand(-1, -1, n_channels)
    seen, value, variance = (
        torch.gather(part, 1, pick).mT for part in (seen, known.value, known.variance)
    )
    # What was not seen is an image of no weight: alone with its own variance.
    both = seen[..., :, None] & seen[..., None, :]
    share, timescale = (torch.as_tensor(v, dtype=value.dtype) for v in (share, timescale))
    share, timescale = share.expand(n_channels)[:, None], timescale.expand(n_channels)[:, None]
    variance = torch.where(seen, variance, 1.0)
    apart = (time[:, :, None] - time[:, None, :]).abs()[:, None]
    covariance = share[..., None] * torch.exp(-apart / timescale[..., None])
    covariance = torch.where(both, covariance, 0.0)
    rest = torch.where(seen, torch.maximum(variance - share, 1 - share), 1.0)
    cross = share * torch.exp(-(time - day).abs()[:, None] / timescale) * seen
    system = covariance + torch.diag_embed(rest)
    gain = torch.linalg.solve(system, cross[..., None])[..., 0]
    return Carried((gain * value).sum(-1), (gain * cross).sum(-1))
