"""Arguments at the border of the physics functions: anything numeric becomes a tensor."""

from __future__ import annotations

import functools
from typing import TypeAlias

import torch
from torch import Tensor

Numeric: TypeAlias = Tensor | float
"""What a physics function takes: a tensor of any broadcastable shape, or a plain number."""


def tensors(*values: Numeric) -> list[Tensor]:
    """Convert numbers and tensors to tensors of one floating dtype on one device.

    Parameters
    ----------
    *values : Tensor or float
        Arguments of a physics function, of any shapes.

    Returns
    -------
    list of Tensor
        The values in the order given. The dtype is the one that the floating tensors promote to
        (a plain number never widens it), the default dtype where there is none; the device is
        that of the first tensor that is not on the CPU, else the CPU.

    Examples
    --------
    >>> import torch
    >>> a, b = tensors(torch.ones(2, dtype=torch.float64), 3.0)
    >>> b.dtype
    torch.float64
    """
    given = [value for value in values if isinstance(value, Tensor)]
    floating = [value.dtype for value in given if value.is_floating_point()]
    dtype = functools.reduce(torch.promote_types, floating or [torch.get_default_dtype()])
    device = next((value.device for value in given if value.device.type != "cpu"), None)
    if device is None:
        device = torch.device("cpu")
    return [
        value.to(device=device, dtype=dtype)
        if isinstance(value, Tensor)
        else torch.as_tensor(value, dtype=dtype, device=device)
        for value in values
    ]


def broadcast(*values: Tensor) -> list[Tensor]:
    """Expand tensors to their common shape.

    Parameters
    ----------
    *values : Tensor
        Of broadcastable shapes.

    Returns
    -------
    list of Tensor
        Views of one shape, in the order given.
    """
    return list(torch.broadcast_tensors(*values))
