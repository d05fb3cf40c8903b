"""What the lists of optical and of radar models share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .domains import (
    DOMAINS,
)
from .laws import GENERAL_LAWS
from .model import Domain

FRACTION_LAWS = (*GENERAL_LAWS, "output_is_not_negative", "output_is_at_most_one")


def domain_of(*names: str, **changed: Domain) -> dict[str, Domain]:
    """Domains of arguments by name.

    Parameters
    ----------
    *names : str
        Arguments, as in :data:`~physfuse.testing.domains.DOMAINS`.
    **changed : Domain
        Those that are other than usual, or not there.

    Returns
    -------
    dict of str to Domain
    """
    return {name: changed[name] if name in changed else DOMAINS[name] for name in names}


def single(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Give the one output of a function an axis.

    Parameters
    ----------
    function : callable
        From arguments to a tensor (...).

    Returns
    -------
    callable
        To a tensor (..., 1).
    """
    return lambda **arguments: function(**arguments)[..., None]


def stacked_outputs(function: Callable[..., tuple[Tensor, ...]]) -> Callable[..., Tensor]:
    """Put the outputs of a function on one last axis.

    Parameters
    ----------
    function : callable
        From arguments to n tensors of broadcastable shapes.

    Returns
    -------
    callable
        To a tensor (..., n).
    """

    def stacked(**arguments: Tensor) -> Tensor:
        values = function(**arguments)
        same = torch.zeros_like(sum(values, start=values[0]))
        return torch.stack([value + same for value in values], dim=-1)

    return stacked
