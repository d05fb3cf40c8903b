"""Training of a hybrid on lessons, and the choice of what it learned by held-out pixels."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import torch

from physfuse.lessons import FieldLesson, Gain, Lesson, Trainee, judgement
from physfuse.models.hybrid import NO_CONTEXT, Hybrid, untrained
from physfuse.progress import progress_bar
from physfuse.training import Progress, Schedule, train

STEPS = 60
HALVINGS = 3  # of a residual that moves the states
RESIDUAL, WIDTH = "residual", "width"
LEARNING_RATE = 0.012
RELATIVE_RATES = {"hybrid.prior": 0.25, "hybrid.optical_noise": 0.25, "hybrid.radar_noise": 0.25}
"""Of the learning rate: few pixels say little of a season's mean and of the noise of each band."""
PARTS = {
    "prior": ("prior",),
    "residual": ("residual",),
    "noise": ("optical_noise", "radar_noise", "lasting"),
}


class Learned(NamedTuple):
    """What held-out pixels let a training keep.

    Attributes
    ----------
    hybrid : Hybrid
    gains : tuple of Gain
        Of withheld dates, and of labels where there are any; where nothing was kept, those of the
        best choice that was tried. The training stops and chooses by the same pixels: they are
        somewhat too good.
    kept : tuple of str
        Parts of :data:`PARTS`, and "width"; none, and the hybrid is physics.
    progress : Progress
    width : Gain
        Relative fall of the CRPS of held-out pixels by the factor on the spread of
        predictions, kept or not. [1]
    """

    hybrid: Hybrid
    gains: tuple[Gain, ...]
    kept: tuple[str, ...]
    progress: Progress
    width: Gain


class _Tried(NamedTuple):
    """A hybrid with some of its parts, and what held-out pixels gain by them."""

    hybrid: Hybrid
    gains: tuple[Gain, ...]
    kept: tuple[str, ...]


def learn(
    lesson: Lesson,
    field: FieldLesson | None,
    checkpoint: Path,
    *,
    bands: Sequence[str],
    steps: int,
    seed: int,
    quiet: bool,
    allowed: Callable[[Hybrid], bool] = lambda _: True,
    context: Mapping[str, Sequence[float]] = NO_CONTEXT,
) -> Learned:
    """Train a hybrid and keep the parts that held-out pixels gain most by.

    Parameters
    ----------
    lesson : Lesson
    field : FieldLesson or None
        Labels, where there are any.
    checkpoint : Path
        Folder; a training that was broken off goes on from there.
    bands : sequence of str
        That the hybrid knows.
    steps, seed : int
    quiet : bool
    allowed : callable
        Whether a hybrid's residual leaves the states where they are. One that does not is halved
        up to three times, then left out.
    context : mapping of str to (float, float)
        What the prior reads, as for :class:`physfuse.models.hybrid.Hybrid`.

    Returns
    -------
    Learned

    Raises
    ------
    TrainingError
        A loss that is not finite; the last good checkpoint stays.
    """
    plain = functools.partial(untrained, seed=seed, bands=bands, context=context)
    hybrid = plain()
    with progress_bar(None, "judging the start on held-out pixels", quiet=quiet):
        before = judgement(lesson, field, hybrid)
    module = Trainee(hybrid)
    progress = train(
        module,
        lambda g: lesson.loss(module, g) + (0.0 if field is None else field.loss(hybrid, g)),
        lambda: sum(float(part.mean()) for part in judgement(lesson, field, hybrid)),
        Schedule(steps, LEARNING_RATE, check_every=max(1, steps // 10), patience=5),
        torch.Generator().manual_seed(seed),
        checkpoint,
        start_counts=True,
        relative_rates=RELATIVE_RATES,
        quiet=quiet,
    )

    # A part may have learned what another undoes: the held-out pixels choose among them.
    def judged(candidate: Hybrid, parts: tuple[str, ...]) -> _Tried:
        now = judgement(lesson, field, candidate)
        gains = tuple(Gain.of(b - n) for b, n in zip(before, now, strict=True))
        return _Tried(candidate, gains, parts)

    tried = []
    with progress_bar(
        len(_subsets()), "judging what was learned", unit="choice", quiet=quiet
    ) as bar:
        for parts in _subsets():
            tried.append(judged(_only(hybrid, plain(), parts), parts))
            bar.update(1)
    best = _best(tried, judged, allowed)
    if best is None:
        best = _Tried(plain(), max(tried, key=_total).gains, ())
    with progress_bar(None, "learning how wide predictions are", quiet=quiet):
        width, gain = lesson.learn_width(best.hybrid, seed)
    if gain.confirmed:
        best = _Tried(best.hybrid.with_width(width), best.gains, (*best.kept, WIDTH))
    return Learned(*best, progress, gain)


def _best(
    tried: Sequence[_Tried],
    judged: Callable[[Hybrid, tuple[str, ...]], _Tried],
    allowed: Callable[[Hybrid], bool],
) -> _Tried | None:
    """The choice of parts by which held-out pixels gain most, none where none is confirmed."""
    sure = [one for one in tried if _confirmed(one)]
    pool = [one for one in sure if RESIDUAL not in one.kept]
    pool += sorted((one for one in sure if RESIDUAL in one.kept), key=_total)[-1:]
    halvings = 0
    while pool:
        best = max(pool, key=_total)
        if RESIDUAL not in best.kept or allowed(best.hybrid):
            return best
        pool.remove(best)
        if halvings < HALVINGS:
            halvings += 1
            smaller = judged(best.hybrid.with_residual_times(0.5), best.kept)
            pool += [smaller] if _confirmed(smaller) else []
    return None


def _total(one: _Tried) -> float:
    return sum(part.mean for part in one.gains)


def _confirmed(one: _Tried) -> bool:
    """Whether held-out pixels gain, one of the gains is beyond its error, and none is a loss."""
    return (
        _total(one) > 0
        and any(part.confirmed for part in one.gains)
        and not any(part.refuted for part in one.gains)
    )


def _subsets() -> list[tuple[str, ...]]:
    """Every choice of at least one part, the whole first."""
    sizes = range(len(PARTS), 0, -1)
    return [chosen for size in sizes for chosen in combinations(PARTS, size)]


def _only(hybrid: Hybrid, plain: Hybrid, parts: Sequence[str]) -> Hybrid:
    """A plain hybrid with some learned parts."""
    names = tuple(name for part in parts for name in PARTS[part])
    own = {k: v for k, v in hybrid.state_dict().items() if k.split(".")[0] in names}
    plain.load_state_dict({**plain.state_dict(), **own})
    return plain
