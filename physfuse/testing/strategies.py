"""Hypothesis strategies: points from the domains of a forward model, its edges included."""

from __future__ import annotations

import functools

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from .model import Domain, ForwardModel

_tensor = functools.partial(torch.tensor, dtype=torch.float64)


def values(domain: Domain) -> st.SearchStrategy[float]:
    """Draw values of one argument: its bounds and special values often, others between.

    Parameters
    ----------
    domain : Domain
        Bounds and special values of the argument.

    Returns
    -------
    SearchStrategy of float
        Numbers that float32 holds exactly, none nearer to the lower bound than a millionth of the
        domain but the bound itself; they shrink to the lower bound.
    """
    inside = st.floats(2.0**-20, 1.0, width=32)
    return (
        st.sampled_from((domain.low, domain.high, *domain.special))
        | inside.map(lambda share: domain.low + share * domain.width)
    ).map(lambda value: float(np.float32(value)))


def points(model: ForwardModel, count: int = 4) -> st.SearchStrategy[dict[str, Tensor]]:
    """Draw a batch of points of a forward model.

    Parameters
    ----------
    model : ForwardModel
        The model that says which arguments there are.
    count : int
        Number of points of the batch.

    Returns
    -------
    SearchStrategy of dict of str to Tensor, shape (count,)
        Arguments by name, float64, each number exact in float32 too.
    """
    return st.fixed_dictionaries(
        {
            name: st.lists(values(domain), min_size=count, max_size=count).map(_tensor)
            for name, domain in model.domain.items()
        }
    )
