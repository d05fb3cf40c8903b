"""Measurements in the field as labels: how likely they are under what a hybrid retrieves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from physfuse.csv_lists import places_of
from physfuse.inference.likelihood import log_student
from physfuse.inference.moments import summarise
from physfuse.inference.problem import Problem
from physfuse.inference.spread import widening
from physfuse.inference.state import STATE_TABLE, Variable, Varying
from physfuse.measurements import Measurements, check_days, read_measurements
from physfuse.models.hybrid import Hybrid
from physfuse.radiative.errors import DomainError, FileFormatError, unknown_name
from physfuse.run import Run
from physfuse.through_solve import solved_with_graph

RELATIVE_ERROR, LEAST_ERROR = 0.2, 0.1
"""Standard deviation of a measured LAI where the list has none: 20 %, and 0.1 at least."""


class Labels(NamedTuple):
    """Measurements of the pixels of a problem.

    Attributes
    ----------
    variable : tuple of str, length L
    pixel, knot : Tensor of int, shape (L,)
        Where each was measured.
    value, sd : Tensor, shape (L,)
        In the variable's unit; the error of the measurement.
    """

    variable: tuple[str, ...]
    pixel: Int[Tensor, " labels"]
    knot: Int[Tensor, " labels"]
    value: Float[Tensor, " labels"]
    sd: Float[Tensor, " labels"]

    def take(self, pixels: Int[Tensor, " kept"]) -> Labels:
        """Labels of some pixels, which are counted anew."""
        place = {int(p): i for i, p in enumerate(pixels)}
        at = [i for i, p in enumerate(self.pixel.tolist()) if p in place]
        return Labels(
            tuple(self.variable[i] for i in at),
            torch.tensor([place[int(self.pixel[i])] for i in at], dtype=torch.long),
            self.knot[at],
            self.value[at],
            self.sd[at],
        )


def read_labels(path: str | Path, sites: Sequence[str]) -> list[Measurements]:
    """Measurements of what varies by day in the state table, with their errors.

    Parameters
    ----------
    path : str or Path
        CSV as :func:`physfuse.measurements.read_measurements` takes it. Of LAI the column
        ``lai_sd`` may be absent: 20 % and at least 0.1; of others it is needed.
    sites : sequence of str
        Names that are known.

    Returns
    -------
    list of Measurements

    Raises
    ------
    FileFormatError, UnknownNameError, DomainError
        A list that cannot be read, a variable that is no daily state, a value out of all range.
    """
    rows = {row.name: row for row in STATE_TABLE if isinstance(row.dynamics, Varying)}
    name = Path(path).name
    return [_with_error(one, rows, name) for one in read_measurements(path, sites)]


def _with_error(one: Measurements, rows: dict[str, Variable], name: str) -> Measurements:
    if one.variable not in rows:
        raise unknown_name(f"variable that can be trained with ({name})", one.variable, rows)
    row = rows[one.variable]
    sd = one.sd
    if sd is None and one.variable != "lai":
        raise FileFormatError(
            f"{name} has {one.variable} without the error of its measurements: add the column "
            f"{one.variable}_sd [{row.unit}]"
        )
    if sd is None:
        sd = np.maximum(RELATIVE_ERROR * one.value, LEAST_ERROR)
    if not bool((sd > 0).all()):
        raise DomainError(f"{name}: {one.variable}_sd is {sd.min():g}; allowed: above 0")
    return one._replace(sd=sd)


def check_labels(measured: Sequence[Measurements], run: Run, name: str) -> None:
    """Refuse labels that the cubes say nothing of, before any work.

    Parameters
    ----------
    measured : sequence of Measurements
    run : Run
        Without them.
    name : str
        Of the list.

    Raises
    ------
    DomainError
        A day outside the cubes' dates, or a variable that no sensor of theirs sees.
    """
    check_days(measured, int(run.knot_days[0]), int(run.knot_days[-1]), 0, name)
    for one in measured:
        if run.plan.layout.component_of(one.variable) is None:
            raise DomainError(
                f"{name}: {one.variable} is seen by no sensor of these cubes; give the cubes of "
                "one that sees it, or leave the column out"
            )


def labels_of(
    measured: Sequence[Measurements], sites: Sequence[str], knot_days: np.ndarray
) -> tuple[np.ndarray, Labels]:
    """Labels by pixel and knot.

    Parameters
    ----------
    measured : sequence of Measurements
        From :func:`read_labels`.
    sites : sequence of str
        Name of each pixel of the grid.
    knot_days : ndarray of int
        Days of the knots, with all days of the measurements.

    Returns
    -------
    pixels : ndarray of int
        Pixels of the grid that have labels, in order.
    labels : Labels
        Of these pixels, counted from 0.
    """
    place = places_of(sites)
    at = np.array([place[name] for one in measured for name in one.site])
    pixels, pixel = np.unique(at, return_inverse=True)
    knot = np.searchsorted(knot_days, np.concatenate([one.day for one in measured]))
    sd = [np.zeros(0) if one.sd is None else one.sd for one in measured]
    return pixels, Labels(
        tuple(one.variable for one in measured for _ in one.site),
        torch.from_numpy(pixel),
        torch.from_numpy(knot),
        torch.from_numpy(np.concatenate([one.value for one in measured])),
        torch.from_numpy(np.concatenate(sd)),
    )


def label_loss(
    hybrid: Hybrid,
    problem: Problem,
    knot_day: Float[Tensor, " knots"],
    labels: Labels,
    start: tuple[Float[Tensor, "knots pixels m"], Float[Tensor, "pixels n"]],
    *,
    south: bool = False,
) -> Float[Tensor, " pixels"]:
    """Mean negative log density of each pixel's labels; differentiable where grad is enabled.

    Parameters
    ----------
    hybrid : Hybrid
    problem : Problem
        Of physics, with everything that was observed.
    knot_day : Tensor, shape (K,)
        [day]
    labels : Labels
        At least one of each pixel.
    start : tuple of Tensor
        Deviations (x, c) from the layout's prior mean near the solution.
    south : bool
        Whether the place is south of the equator.

    Returns
    -------
    Tensor, shape (P,)
        [nat]

    Notes
    -----
    Student-t about the posterior median; its scale joins the posterior's spread, widened as it is
    retrieved and by quadrature through the variable's transform, and the measurement's error.
    """
    layout = problem.layout
    solved = solved_with_graph(hybrid, problem, knot_day, start, south=south)
    u = solved.state.x + solved.problem.prior_mean_x()
    loss = labels.value.new_zeros(problem.n_pixels)
    for name in dict.fromkeys(labels.variable):
        row, i = layout.variable(name), layout.component_of(name)
        if row is None or i is None:
            raise DomainError(f"{name} has labels and is not seen by any sensor of these cubes")
        at = torch.tensor([k for k, one in enumerate(labels.variable) if one == name])
        knot, pixel = labels.knot[at], labels.pixel[at]
        variance = solved.covariance.xx[knot, pixel, i, i]
        # As it is retrieved: see `Posterior.joint`.
        wider = widening([name], (variance / row.prior_sd**2)[:, None])[:, 0]
        found = summarise(row.transform, u[knot, pixel, i], variance * wider**2)
        scale = torch.sqrt(found.std**2 + labels.sd[at] ** 2)
        off = (labels.value[at] - found.median) / scale
        loss = loss.index_add(0, pixel, scale.log() - log_student(off))
    count = torch.bincount(labels.pixel, minlength=problem.n_pixels)
    return loss / count.clamp(min=1)
