"""How much wider than its Gaussian at the optimum the posterior really is.

The posterior is one Gaussian around one optimum of a strongly nonlinear problem with products of
unknowns (darkening times moisture, attenuation times canopy water); drawn from the model's own
prior, truth lies outside its intervals too often. The factors of this table widen it so that under
the model's own prior and dynamics the intervals hold what they say. They were fitted on simulated
pixel-years by ``benchmarks/science/own_prior.py --fit-spread`` and are checked there on others.
"""

from __future__ import annotations

import functools
import json
from importlib.resources import files

import torch
from jaxtyping import Float
from torch import Tensor

TABLE = files("physfuse.inference") / "data" / "spread.json"


@functools.cache
def spread_factors() -> dict[str, float]:
    """Factor on the standard deviation of each variable where the data say everything.

    Returns
    -------
    dict of str to float
        By variable; the offsets of all orbits in one polarisation share one ("offset_VV"), and a
        misfit that is not in the table has that of all others of its sensor ("misfit_optical").
    """
    table = json.loads(TABLE.read_text())
    return {name: float(factor) for name, factor in table["factors"].items()}


def spread_groups(name: str) -> tuple[str, ...]:
    """Names under which a variable may stand in the table, the closest first."""
    if name.startswith("offset_"):
        return (f"offset_{name.rpartition('_')[2]}",)
    if name.startswith("misfit_"):
        return (name, "misfit_radar" if name in ("misfit_VV", "misfit_VH") else "misfit_optical")
    return (name,)


def widening(
    names: list[str], share_of_prior: Float[Tensor, "*batch q"]
) -> Float[Tensor, "*batch q"]:
    """Factors on posterior standard deviations.

    Parameters
    ----------
    names : list of str, length q
    share_of_prior : Tensor, shape (..., q)
        Posterior over prior variance.

    Returns
    -------
    Tensor, shape (..., q)
        sqrt(1 + (f^2 - 1) (1 - share)): f where the data say everything, one where they say
        nothing, so that the prior stays the prior.
    """
    table = spread_factors()
    groups = [spread_groups(name) for name in names]
    factor = [next((table[g] for g in found if g in table), 1.0) for found in groups]
    squared = share_of_prior.new_tensor(factor) ** 2
    said = (1 - share_of_prior).clamp(0, 1)
    return torch.sqrt(1 + (squared - 1) * said)
