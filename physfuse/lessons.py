"""What a hybrid learns from and is judged by: withheld dates of pixels, and their labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import stdtrit
from torch import Tensor, nn

from physfuse.calibrating import MIN_ACQUISITIONS, problem_at
from physfuse.inference.problem import Problem
from physfuse.labels import label_loss, labels_of
from physfuse.measurements import Measurements
from physfuse.models.hybrid import Hybrid
from physfuse.models.width import Width
from physfuse.radiative.errors import CubeError
from physfuse.run import Run, optima
from physfuse.widening import Errors, fitted, scores
from physfuse.withheld_loss import (
    GAPS,
    Judged,
    Windows,
    draw_windows,
    withheld_errors,
    withheld_loss,
)
from physfuse.workers import in_order

BATCH = 16  # pixel-years of one step
PART = 8  # of them solved at once
JUDGED_AT_ONCE = 64  # windows, where no gradient is kept
HELD_OUT = 0.25  # of the sampled pixels
CONFIDENCE = 0.975  # one-sided
LEAST_PIXELS = 4
SHOWN = 32  # held-out pixels of a report
WIDTH_PUPILS = 48  # pixels, at most, from which the width of predictions is learned
SHIFT_RIDGE, STRETCH_RIDGE = 0.05, 0.05  # nat per squared prior sd, per squared log factor
FIRST_MULTIPLIER, MULTIPLIER_RATE = 5.0, 0.1


class Trainee(nn.Module):
    """A hybrid with the multiplier of its residual's norm, which a checkpoint keeps."""

    multiplier: Tensor

    def __init__(self, hybrid: Hybrid) -> None:
        super().__init__()
        self.hybrid = hybrid
        self.register_buffer("multiplier", torch.tensor(FIRST_MULTIPLIER))


class Gain(NamedTuple):
    """Mean gain of pixels and its standard error.

    Attributes
    ----------
    mean, error : float
        [nat]
    pixels : int
    """

    mean: float
    error: float
    pixels: int

    @property
    def confirmed(self) -> bool:
        """Whether it is above zero beyond its error, by Student's t."""
        return self.mean > self._margin

    @property
    def refuted(self) -> bool:
        """Whether it is below zero beyond its error."""
        return self.mean < -self._margin

    @property
    def _margin(self) -> float:
        return float(stdtrit(self.pixels - 1, CONFIDENCE)) * self.error

    @property
    def text(self) -> str:
        """Both, for people."""
        return f"{self.mean:+.4f} +- {self.error:.4f}"

    @classmethod
    def of(cls, each: Tensor) -> Gain:
        """Of the gain of each pixel."""
        n = len(each)
        return cls(float(each.mean()), float(each.std()) / math.sqrt(n), n)


class Roles(NamedTuple):
    """Pixels of a lesson, by place in it.

    Attributes
    ----------
    judges, pupils : Tensor of int
        To be judged by, and to learn from; both in order.
    shown : Tensor of int
        Some of the judges, drawn at random, for what is too dear to be done with all.
    """

    judges: Tensor
    pupils: Tensor
    shown: Tensor


def drawn_roles(
    pixels: np.ndarray, generator: torch.Generator, given: dict[int, bool] | None = None
) -> Roles:
    """Hold out a quarter of some pixels.

    Parameters
    ----------
    pixels : ndarray of int
        Of the grid.
    generator : torch.Generator
    given : dict of int to bool, optional
        Pixels of which another lesson has said whether they are judges: what is held out there is
        held out here, and what is learned from there judges nothing here.

    Returns
    -------
    Roles

    Raises
    ------
    CubeError
        Fewer than two are left to judge, or none to learn from.
    """
    known = given or {}
    order = torch.randperm(len(pixels), generator=generator).tolist()
    forced = [k for k in order if known.get(int(pixels[k]), False)]
    free = [k for k in order if int(pixels[k]) not in known]
    wanted = max(2, round(HELD_OUT * len(pixels)))
    judges = [*forced, *free[: max(0, wanted - len(forced))]]
    pupils = sorted(set(order) - set(judges))
    if len(judges) < 2 or not pupils:
        raise CubeError(
            f"of {len(pixels)} pixels {len(judges)} are left to be judged by and {len(pupils)} to "
            "learn from, for the others have labels: take a larger --sample (sample=) or more cubes"
        )
    shown = torch.tensor(sorted(judges[:SHOWN]))
    return Roles(torch.tensor(sorted(judges)), torch.tensor(pupils), shown)


def judgement(lesson: Lesson, field: FieldLesson | None, hybrid: Hybrid) -> list[Tensor]:
    """Losses of held-out pixels: of their withheld dates, and of labels where there are any."""
    return [lesson.judge(hybrid), *([] if field is None else [field.judge(hybrid)])]


class FieldLesson:
    """Pixels with labels to learn from and to be judged by."""

    def __init__(
        self, run: Run, measured: Sequence[Measurements], sites: Sequence[str], seed: int
    ) -> None:
        self.run = run
        self.knot_day = torch.from_numpy(run.knot_days).to(torch.float64)
        pixels, labels = labels_of(measured, sites, run.knot_days)
        problem = problem_at(run, pixels)
        count = sum(s.valid.any(-1).sum(-1) for s in problem.streams)
        seen = torch.as_tensor(count >= MIN_ACQUISITIONS).nonzero()[:, 0]
        if len(seen) < LEAST_PIXELS:
            raise CubeError(
                f"labels of {len(seen)} pixels with data are too few to hold some out; give them "
                f"of at least {LEAST_PIXELS}, or fit without"
            )
        self.problem, self.labels = problem.take(seen), labels.take(seen)
        pixels = pixels[seen.numpy()]
        generator = torch.Generator().manual_seed(seed)
        self.judges, self.pupils, _ = drawn_roles(pixels, generator)
        held_out = set(self.judges.tolist())
        self.given = {int(pixel): k in held_out for k, pixel in enumerate(pixels)}
        self.start = optima(run, self.problem)

    def _judged(self, hybrid: Hybrid, pixels: Tensor) -> Tensor:
        x, c = self.start
        return label_loss(
            hybrid,
            self.problem.take(pixels),
            self.knot_day,
            self.labels.take(pixels),
            (x[:, pixels], c[pixels]),
            south=self.run.south,
        )

    def judge(self, hybrid: Hybrid) -> Tensor:
        """Loss of every held-out pixel."""

        def work(at: Tensor) -> Tensor:
            with torch.no_grad():
                return self._judged(hybrid, at)

        return torch.cat(list(in_order(work, self.judges.split(4 * PART))))

    def loss(self, hybrid: Hybrid, generator: torch.Generator) -> Tensor:
        """Mean loss of some pixels."""
        order = torch.randperm(len(self.pupils), generator=generator)
        return self._judged(hybrid, self.pupils[order[:PART]]).mean()


class Lesson:
    """Pixels to learn from and pixels to be judged by, with where their solution is near."""

    def __init__(
        self,
        run: Run,
        pixels: np.ndarray,
        problem: Problem,
        seed: int,
        given: dict[int, bool] | None = None,
    ) -> None:
        self.run, self.problem = run, problem
        self.knot_day = torch.from_numpy(run.knot_days).to(torch.float64)
        generator = torch.Generator().manual_seed(seed)
        self.judges, self.pupils, self.shown = drawn_roles(pixels, generator, given)
        self.start = optima(run, problem)
        self.windows = self._windows(self.judges, generator)

    def _windows(self, pixels: Tensor, generator: torch.Generator) -> Windows:
        """A window of each pixel for every gap, those of the first gap first."""
        seen = self.problem.take(pixels)
        drawn = [draw_windows(seen, self.knot_day, generator, (gap,)) for gap in GAPS]
        return Windows(*(torch.cat(field) for field in zip(*drawn, strict=True)))

    def _judged(self, hybrid: Hybrid, pixels: Tensor, windows: Windows) -> Judged:
        x, c = self.start
        return withheld_loss(
            hybrid,
            self.problem.take(pixels),
            self.knot_day,
            windows,
            (x[:, pixels], c[pixels]),
            south=self.run.south,
        )

    def learn_width(self, hybrid: Hybrid, seed: int) -> tuple[Width, Gain]:
        """How wide predictions ought to be: from pupils, and what held-out pixels gain by it.

        Parameters
        ----------
        hybrid : Hybrid
        seed : int
            Of the pixels and of the windows.

        Returns
        -------
        width : Width
            For :meth:`physfuse.models.hybrid.Hybrid.with_width`.
        gain : Gain
            Fall of the CRPS of held-out pixels, relative to what it was. [1]
        """
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(self.pupils), generator=generator)[:WIDTH_PUPILS]
        pupils = self.pupils[order.sort().values]
        width = fitted(self._errors(hybrid, pupils, self._windows(pupils, generator)))
        judged = self._errors(hybrid, self.judges, self.windows)
        fall = scores(judged) - scores(judged, width)
        return width, Gain.of(fall[fall.isfinite()])

    def _errors(self, hybrid: Hybrid, pixels: Tensor, windows: Windows) -> Errors:
        """Of the windows of every gap of some pixels, (P, T, C)."""
        x, c = self.start
        n = len(pixels)

        def work(at: Tensor) -> Errors:
            own = pixels[at % n]
            return withheld_errors(
                hybrid,
                self.problem.take(own),
                self.knot_day,
                windows.take(at),
                (x[:, own], c[own]),
                south=self.run.south,
            )

        parts = list(in_order(work, torch.arange(len(GAPS) * n).split(JUDGED_AT_ONCE)))
        fields = (torch.cat(field).split(n) for field in zip(*parts, strict=True))
        return Errors(*(torch.cat(of_gap, 1) for of_gap in fields))

    def judge(self, hybrid: Hybrid) -> Tensor:
        """Loss of every held-out pixel, the mean over its windows."""
        n = len(self.judges)

        def work(at: Tensor) -> Judged:
            with torch.no_grad():
                return self._judged(hybrid, self.judges[at % n], self.windows.take(at))

        found = list(in_order(work, torch.arange(len(GAPS) * n).split(JUDGED_AT_ONCE)))
        loss = torch.cat([f.loss * f.channels for f in found]).view(len(GAPS), -1)
        count = torch.cat([f.channels for f in found]).view(len(GAPS), -1)
        each = torch.where(count > 0, loss / count.clamp(min=1), torch.nan)
        return torch.nanmean(each, 0).nan_to_num()

    def loss(self, module: Trainee, generator: torch.Generator) -> Tensor:
        """Penalised loss of some pixels; its gradient is made part by part, side by side."""
        hybrid = module.hybrid
        n = min(BATCH, len(self.pupils))
        chosen = self.pupils[torch.randperm(len(self.pupils), generator=generator)[:n]]
        windows = draw_windows(self.problem.take(chosen), self.knot_day, generator)
        parameters = [p for p in hybrid.parameters() if p.requires_grad]
        multiplier = float(module.multiplier)

        def work(at: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
            with torch.enable_grad():
                found = self._judged(hybrid, chosen[at], windows.take(at))
                value = found.loss.sum() / n + found.norm / multiplier * (len(at) / n)
                slopes = torch.autograd.grad(value, parameters, allow_unused=True)
            filled = [
                torch.zeros_like(p) if s is None else s
                for p, s in zip(parameters, slopes, strict=True)
            ]
            return value.detach(), found.deviance.detach().sum() / n, filled

        found = list(in_order(work, torch.arange(n).split(PART)))
        total = sum((value for value, _, _ in found), torch.zeros(()))
        deviance = sum((part for _, part, _ in found), torch.zeros(()))
        module.multiplier.add_(MULTIPLIER_RATE * float(deviance))
        slopes = [torch.stack(parts).sum(0) for parts in zip(*(f[2] for f in found), strict=True)]
        pull = sum(
            ((s * p).sum() for s, p in zip(slopes, parameters, strict=True)), torch.zeros(())
        )
        return total + (pull - pull.detach()) + self._ridge(hybrid)

    def _ridge(self, hybrid: Hybrid) -> Tensor:
        """What holds shift and noise back where the data do not ask for them."""
        layout = self.problem.layout
        context = self.problem.context
        shift = hybrid.shift(layout, self.knot_day, south=self.run.south, context=context)
        ridge = SHIFT_RIDGE * (shift / layout.prior_sd_x()).square().sum(-1).mean()
        for stream in self.problem.streams:
            one = stream.take(self.pupils[:1])
            factor = hybrid.stretch(one.operator, one.clear, one.geometry)
            ridge = ridge + STRETCH_RIDGE * factor.log().square().mean()
        return ridge
