"""Small functions that keep value and derivatives exact where the plain form is 0/0.

The choice between two formulas is made by arithmetic with a mask of zeros and ones: on a processor
that is thirty times faster than ``torch.where``, and half of the hot path would go there.
"""

from __future__ import annotations

import torch
from torch import Tensor


def is_below(x: Tensor, threshold: float) -> Tensor:
    """Mask for a choice between two formulas.

    Parameters
    ----------
    x : Tensor, shape (...)
        Any finite value.
    threshold : float
        Where the choice changes.

    Returns
    -------
    Tensor, shape (...)
        1 where x is below the threshold, else 0, in the dtype of x; constant to autograd.
    """
    return ((threshold - x.detach()) * 1e30).clamp(0.0, 1.0)


def chosen(mask: Tensor, inside: Tensor, outside: Tensor) -> Tensor:
    """Choose between two formulas that are finite everywhere.

    Parameters
    ----------
    mask : Tensor, shape (...)
        Zeros and ones, as from `is_below`.
    inside, outside : Tensor, shape (...)
        Values where the mask is 1 and where it is 0, of the same order of magnitude.

    Returns
    -------
    Tensor, shape (...)
        The chosen values.
    """
    return torch.addcmul(outside, mask, inside - outside)


def log_mean(a: Tensor, b: Tensor, log_ratio: Tensor) -> Tensor:
    """Logarithmic mean of two positive numbers, smooth where they are equal.

    Parameters
    ----------
    a, b : Tensor, shape (...)
        Positive numbers.
    log_ratio : Tensor, shape (...)
        log(a / b), of any sign; the caller knows it without taking a logarithm.

    Returns
    -------
    Tensor, shape (...)
        (a - b) / log(a / b).

    Notes
    -----
    Mean decay, J1 of the four-stream theory and the sum over the hotspot are all of this form.
    With x the logarithm it equals (a + b) tanh(x / 2) / x, whose series (of error below 1e-14 in
    float64, 1e-8 in float32) takes over near x = 0.
    """
    square = log_ratio * log_ratio
    near = is_below(square, 2.5e-3 if a.dtype == torch.float64 else 0.1)
    x_sq = square * near
    series = 1.0 - x_sq * (17.0 / 168.0) * (1.0 - x_sq * (31.0 / 306.0))
    level = (a + b) * (0.5 - x_sq / 24.0 * (1.0 - x_sq / 10.0 * series))
    return chosen(near, level, (a - b) / (log_ratio + near))
