"""Arguments at the border of the physics functions: anything numeric becomes a tensor."""

from __future__ import annotations

import functools
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

Numeric: TypeAlias = Tensor | float
"""What a physics function takes: a tensor of any broadcastable shape, or a plain number."""

_HALF = (torch.float16, torch.bfloat16)


def _as_tensor(value: Any) -> Any:
    """Lists that hold tensors, and arrays, as tensors; everything else as it came."""
    if isinstance(value, list | tuple) and any(isinstance(x, Tensor) for x in value):
        return torch.stack([torch.as_tensor(x) for x in value])
    if isinstance(value, Tensor | np.generic) or not hasattr(value, "__array__"):
        return value
    return torch.as_tensor(np.asarray(value))


def tensors(*values: Any, like: Tensor | None = None) -> list[Tensor]:
    """Convert numbers and tensors to tensors of one floating dtype on one device.

    Parameters
    ----------
    *values : Tensor or float
        Arguments of a physics function, of any shapes; arrays and lists of tensors count as
        tensors.
    like : Tensor, optional
        Tells dtype and device where no floating tensor does.

    Returns
    -------
    list of Tensor
        The values in the order given. The dtype is the one that the floating tensors promote to
        (a plain number never widens it), the default dtype where there is none; half precision,
        which the formulas would lose themselves in, becomes float32. The device is that of the
        first tensor that is not on the CPU, else the CPU.

    Examples
    --------
    >>> import torch
    >>> a, b = tensors(torch.ones(2, dtype=torch.float64), 3.0)
    >>> b.dtype
    torch.float64
    """
    found = [
        value if isinstance(value, Tensor | float | int) else _as_tensor(value) for value in values
    ]
    given = [value for value in found if isinstance(value, Tensor)]
    floating = [value.dtype for value in given if value.is_floating_point()]
    nothing = torch.get_default_dtype() if like is None else like.dtype
    dtype = functools.reduce(torch.promote_types, floating or [nothing])
    if dtype in _HALF:
        dtype = torch.float32
    device = next((value.device for value in given if value.device.type != "cpu"), None)
    if device is None:
        device = torch.device("cpu") if like is None else like.device
    return [
        value.to(device=device, dtype=dtype)
        if isinstance(value, Tensor)
        else torch.as_tensor(value, dtype=dtype, device=device)
        for value in found
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
