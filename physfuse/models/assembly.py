"""Encoders in the smoother: factors of all acquisitions of a problem, start and posterior."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from physfuse.inference.dynamics import jump_weights, markov_prior
from physfuse.inference.factors import FactorSides, KnotOrder
from physfuse.inference.gauss_newton import gaussian_solution
from physfuse.inference.likelihood import Stream
from physfuse.inference.operators import OpticalOperator, RadarOperator
from physfuse.inference.posterior import Posterior
from physfuse.inference.problem import Problem
from physfuse.inference.smoother import Factorisation, marginals
from physfuse.inference.state import STATE_TABLE, StateLayout, Variable
from physfuse.radiative.errors import CheckpointError, DomainError, unknown_name

from .card import Trained, load_trained
from .context import claimed, optical_context, radar_context
from .factor import Factor, refuse_repeats

CHUNK = 4096  # acquisitions per pass: what the network makes of them stays in the cache
PASSES = 1  # solves of a posterior after the first, with the weights of the one before
CONTRADICTION_NU = 4.0  # of the Student-t law of an acquisition's distance from the solution
UNITS = {"optical": "1", "radar": "dB"}


def shipped_encoders() -> dict[str, Trained]:
    """Encoders that come with the package, by sensor."""
    loaded = [load_trained(name) for name in ("optical-encoder", "radar-encoder")]
    return {one.card.sensor: one for one in loaded}


def encode(stream: Stream, trained: Trained, pair: Tensor) -> Factor:
    """Factors of some acquisitions of a stream, in the stream's channels.

    Parameters
    ----------
    stream : Stream
    trained : Trained
    pair : Tensor of int, shape (N,)
        Index into the flattened (P, A).

    Returns
    -------
    Factor
        Of N acquisitions, float32; variables in the order of the card.

    Raises
    ------
    UnknownNameError, UnitError
        A stream of another sensor, platform or channels than the card's.
    CheckpointError
        An operator that holds something else fixed than those of training.
    DomainError
        An operator that does not state its directions.
    """
    operator, card = stream.operator, trained.card
    platform = None
    if isinstance(operator, OpticalOperator):
        platform, held = operator.platform, ("hspot", "ant")
    elif isinstance(operator, RadarOperator):
        held = ("bare_soil", "frequency_ghz")
    else:
        raise DomainError(
            f"the operator {type(operator).__name__} does not state its directions: encoders take "
            "streams of OpticalOperator and RadarOperator"
        )
    unit = UNITS.get(stream.sensor)
    fixed = {name: getattr(operator, name) for name in held}
    card.check(
        sensor=stream.sensor,
        platform=platform,
        channels=operator.channels,
        unit=unit,
        fixed=fixed,
    )
    angles = operator.angles.to(torch.float32)
    if platform is not None:
        contexts = optical_context(angles, platform)
    else:
        contexts = radar_context(angles[..., 0])
    place = torch.tensor([card.channels.index(c) for c in operator.channels])
    same = operator.channels == card.channels
    to_card = torch.nn.functional.one_hot(place, len(card.channels)).to(torch.float32)
    observed, noise, valid = (
        t.flatten(0, 1) for t in (stream.observed, stream.noise, stream.valid)
    )
    clear, geometry = stream.clear.flatten(), stream.geometry.flatten()
    parts = []
    for some in pair.split(CHUNK):
        seen, y, more, at, q = (
            t.index_select(0, some) for t in (valid, observed, noise, geometry, clear)
        )
        y, q, context = y.to(torch.float32), q.to(torch.float32), contexts.index_select(0, at)
        sd, gain = claimed(stream.sensor, stream.spread, stream.gain, y, more.to(y))
        if same:
            parts.append(trained.encoder(y, sd, gain, seen, context, q))
            continue
        full = [torch.where(seen, t, 0.0) @ to_card for t in (y, sd, gain)]
        flags = (seen.to(y) @ to_card) > 0
        factor: Factor = trained.encoder(*full, flags, context, q)
        parts.append(Factor(*(t[:, place] for t in factor)))
    if not parts:
        none = torch.zeros(0, len(place))
        return Factor(none[..., None].expand(0, len(place), len(card.variables)), none, none)
    return Factor(*(torch.cat(t) for t in zip(*parts, strict=True)))


def encoder_factors(
    problem: Problem, trained: Mapping[str, Trained] | None = None
) -> tuple[FactorSides, ...]:
    """Learned factors of every stream of a problem, in the form of linearised ones.

    Parameters
    ----------
    problem : Problem
    trained : mapping of str to Trained, optional
        By sensor; the shipped encoders where not given.

    Returns
    -------
    tuple of FactorSides
        On deviations of (x, c) from the prior mean, float64.

    Raises
    ------
    DomainError
        One acquisition stands twice: same sensor, knot, pixel and values.
    UnknownNameError
        A sensor without an encoder, or what :meth:`physfuse.models.card.Card.check` refuses.
    CheckpointError
        A state table with another transform than in training.
    """
    trained = shipped_encoders() if trained is None else trained
    refuse_repeated_acquisitions(problem)
    out = []
    for stream, order in zip(problem.streams, problem.orders, strict=True):
        if stream.sensor not in trained:
            raise unknown_name("sensor of these encoders", stream.sensor, trained)
        out.append(_sides(problem.layout, stream, order, trained[stream.sensor]))
    return tuple(out)


def refuse_repeated_acquisitions(problem: Problem) -> None:
    """Raise if an acquisition of a pixel stands twice in the streams of a problem.

    Raises
    ------
    DomainError
        Same sensor, knot, pixel and values, in one stream or in two.
    """
    for sensor in dict.fromkeys(s.sensor for s in problem.streams):
        streams = [s for s in problem.streams if s.sensor == sensor]
        names = list(dict.fromkeys(c for s in streams for c in s.operator.channels))
        times, pixels, values = [], [], []
        for stream in streams:
            pair = stream.valid.any(-1).flatten().nonzero()[:, 0]
            place = torch.tensor([names.index(c) for c in stream.operator.channels])
            to_all = torch.nn.functional.one_hot(place, len(names)).to(torch.float64)
            valid = stream.valid.flatten(0, 1)[pair].to(torch.float64)
            observed = torch.where(valid > 0, stream.observed.flatten(0, 1)[pair], 0.0)
            times.append(stream.knot.flatten()[pair])
            pixels.append(pair // stream.knot.shape[1])
            values.append(torch.cat([observed.to(valid) @ to_all, valid @ to_all], -1))
        refuse_repeats(sensor, torch.cat(times), torch.cat(pixels), torch.cat(values))


def _sides(layout: StateLayout, stream: Stream, order: KnotOrder, trained: Trained) -> FactorSides:
    """Factors of a stream on the columns of (x, c), in the order of the solve."""
    factor = encode(stream, trained, order.pair)
    names = tuple(v.name for v in trained.card.variables)
    inputs = stream.operator.inputs
    for variable in trained.card.variables:
        _check_transform(layout, variable.name, variable.transform, trained.card.name)
    if set(names) != set(inputs):
        raise CheckpointError(
            f"model {trained.card.name!r} sees {', '.join(names)}; the operator reads "
            f"{', '.join(inputs)}"
        )
    by_input = torch.tensor([names.index(name) for name in inputs])
    rows = factor.rows.to(torch.float64)[..., by_input] / trained.prior_sd[by_input]
    mean = torch.tensor(
        [v.prior_mean for v in map(layout.variable, inputs) if v is not None], dtype=torch.float64
    )
    # Where the run's prior mean, or a fixed value, is not that of training.
    moved = mean - trained.prior_mean[by_input]
    target = factor.target.to(torch.float64) - rows @ moved
    sides = torch.cat([rows, target[..., None]], -1)
    place = order.place.to(torch.float64)
    width = place.shape[-1]
    parts = zip(sides.split(order.run_lengths), place, strict=True)
    plain = torch.cat([sides.new_zeros(0, sides.shape[1], width), *(p @ q for p, q in parts)])
    one_hot = torch.eye(width, dtype=torch.float64)
    bias = factor.bias.to(torch.float64)[..., None]
    misfit = one_hot[stream.misfit.clamp(min=0)] * (stream.misfit >= 0)[:, None]
    offset = stream.offset.flatten(0, 1)[order.pair]
    plain = plain + bias * misfit
    if bool((offset >= 0).any()):
        plain = plain + bias * one_hot[offset.clamp(min=0)] * (offset >= 0)[..., None]
    return FactorSides(order, plain, plain)


def _check_transform(layout: StateLayout, name: str, transform: str, model: str) -> None:
    variable = layout.variable(name)
    if variable is None or repr(variable.transform) != transform:
        has = "is not in the state" if variable is None else f"has {variable.transform}"
        raise CheckpointError(
            f"model {model!r} was trained with {transform} for {name!r}, which {has}: use the "
            "physics model with this state table"
        )


def reweighted(
    sides: FactorSides, x: Float[Tensor, "knots pixels m"], c: Float[Tensor, "pixels n"]
) -> FactorSides:
    """Factors of a stream, those weaker that contradict a solution.

    An encoder that sees one acquisition cannot know that it is haze or shadow, or a reading in the
    tail of its noise; all the others together can.

    Parameters
    ----------
    sides : FactorSides
        As the encoder gave them.
    x, c : Tensor, shapes (K, P, m) and (P, n)
        Solution.

    Returns
    -------
    FactorSides
        Each acquisition's information times min(1, (nu + C) / (nu + d^2)): d^2 is the squared
        distance of the solution from the factor in its C channels, all of noise one, under a
        multivariate Student-t law with nu = 4.
    """
    order = sides.order
    count = torch.tensor(order.bounds).diff()
    knot = torch.repeat_interleave(torch.arange(len(count)), count)
    local = torch.cat([x[knot, order.pixel], c[order.pixel]], -1)
    left = sides.plain[..., -1] - (sides.plain[..., :-1] @ local[..., None])[..., 0]
    channels = (sides.plain != 0).any(-1).sum(-1)
    contradiction = CONTRADICTION_NU + left.square().sum(-1)
    weight = ((CONTRADICTION_NU + channels) / contradiction).clamp(max=1)
    return sides._replace(weighted=sides.weighted * weight[:, None, None])


def encoder_solution(
    problem: Problem,
    trained: Mapping[str, Trained] | None = None,
    passes: int = PASSES,
    scale: Mapping[str, float] | None = None,
) -> tuple[Factorisation, Tensor]:
    """Exact solve with the encoders' factors in place of linearised ones.

    Parameters
    ----------
    problem, trained
        As in :func:`encoder_factors`.
    passes : int
        Further solves, each with the weights of jumps and of acquisitions of the one before;
        from 0.
    scale : mapping of str to float, optional
        Factor on the information of a sensor.

    Returns
    -------
    Factorisation
        Its solution are the deviations (x, c) from the prior mean.
    weights : Tensor, shape (K-1, P, n_jumps)
        Jump weights of the last solve.
    """
    with torch.no_grad():
        sensors = [stream.sensor for stream in problem.streams]
        factors = tuple(
            sides.scaled((scale or {}).get(sensor, 1.0))
            for sensor, sides in zip(sensors, encoder_factors(problem, trained), strict=True)
        )
        steps = problem.transitions
        shape = (problem.n_knots - 1, problem.n_pixels, len(steps.jumps))
        weights = torch.ones(shape, dtype=torch.float64)
        found = gaussian_solution(problem, factors, markov_prior(steps, weights))
        for _ in range(passes):
            weights = jump_weights(steps, found.x)
            agreeing = tuple(reweighted(sides, found.x, found.c) for sides in factors)
            found = gaussian_solution(problem, agreeing, markov_prior(steps, weights))
    return found, weights


def encoder_start(
    problem: Problem, trained: Mapping[str, Trained] | None = None
) -> tuple[Float[Tensor, "knots pixels m"], Float[Tensor, "pixels n"]]:
    """Start of the physics branch: deviations (x, c) of the encoders' posterior mean.

    Parameters
    ----------
    problem, trained
        As in :func:`encoder_factors`.

    Returns
    -------
    x : Tensor, shape (K, P, m)
    c : Tensor, shape (P, n)
        For :func:`physfuse.inference.iterate`. Jumps have their plain Gaussian prior: further
        solves bring the iteration no nearer to its end.
    """
    found, _ = encoder_solution(problem, trained, 0)
    return found.x, found.c


def learned_posterior(
    problem: Problem,
    knot_day: Float[Tensor, " knots"],
    season_start: Float[Tensor, " seasons"],
    trained: Mapping[str, Trained] | None = None,
    table: tuple[Variable, ...] = STATE_TABLE,
    scale: Mapping[str, float] | None = None,
) -> Posterior:
    """Posterior of the arm ``learned-sim``: no operator is called, nothing is iterated.

    Parameters
    ----------
    problem, trained
        As in :func:`encoder_factors`.
    knot_day, season_start : Tensor
        See :class:`physfuse.inference.Posterior`. [day]
    table : tuple of Variable
        All rows, unseen ones included.
    scale : mapping of str to float, optional
        Factor on the information of a sensor.

    Returns
    -------
    Posterior
        Never widened: encoders are fitted to the mean and covariance of what an acquisition tells,
        not to the curvature at one optimum, and under the own prior their intervals hold what they
        say (``benchmarks/science/learned_start.py``, which also has what is left of it on the
        twin). Acquisitions that contradict a first solution weigh less in the second, see
        :func:`reweighted`.
    """
    found, weights = encoder_solution(problem, trained, scale=scale)
    layout = problem.layout
    return Posterior(
        layout,
        knot_day.to(torch.float64),
        found.x + layout.prior_mean_x(),
        found.c + layout.prior_mean_c(),
        marginals(found),
        weights,
        season_start.to(torch.float64),
        table,
        at_optimum=False,
    )
