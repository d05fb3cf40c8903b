"""Small functions that keep value and derivatives exact where the plain form is 0/0.

The choice between two formulas is made by arithmetic with a mask of zeros and ones: on a processor
that is thirty times faster than ``torch.where``, and half of the hot path would go there.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.forward_ad import unpack_dual


class Constants:
    """Numbers as tensors without dimensions, so that an operation need not convert them.

    On a processor an operation with a plain number takes twice the time to start, and a division of
    a plain number by a tensor twice the time altogether.

    Parameters
    ----------
    *values : float
        The numbers.
    """

    def __init__(self, *values: float) -> None:
        self._values = values
        # Whatever mode the module is imported in, these are ordinary tensors.
        with torch.inference_mode(False):
            self._kept = {
                dtype: tuple(
                    torch.func.debug_unwrap(torch.tensor(value, dtype=dtype, device="cpu"))
                    for value in values
                )
                for dtype in (torch.float32, torch.float64)
            }
            self._rows = {
                dtype: torch.func.debug_unwrap(torch.tensor(values, dtype=dtype, device="cpu"))
                for dtype in (torch.float32, torch.float64)
            }

    def like(self, x: Tensor) -> tuple[Tensor, ...]:
        """Give the numbers in the dtype and on the device of a tensor.

        Parameters
        ----------
        x : Tensor
            Of any shape.

        Returns
        -------
        tuple of Tensor
            Of no dimension each; not to be written into.
        """
        if x.dtype in self._kept and _is_at_hand(x):
            return self._kept[x.dtype]
        return tuple(x.new_full((), value) for value in self._values)

    def row(self, x: Tensor) -> Tensor:
        """Give the numbers as one tensor in the dtype and on the device of another.

        Parameters
        ----------
        x : Tensor
            Of any shape.

        Returns
        -------
        Tensor, shape (K,)
            Not to be written into.
        """
        if x.dtype in self._rows and _is_at_hand(x):
            return self._rows[x.dtype]
        return torch.tensor(self._values, dtype=x.dtype, device=x.device)

    def along_first(self, x: Tensor) -> Tensor:
        """Give the numbers on an axis before those of a tensor.

        Parameters
        ----------
        x : Tensor
            Of any shape.

        Returns
        -------
        Tensor, shape (K, 1, ..., 1)
            Of one dimension more than x; not to be written into.
        """
        return self.row(x).view(-1, *[1] * x.dim())


def _is_at_hand(x: Tensor) -> bool:
    """Whether constants that were made once serve a tensor: on the processor, not compiled."""
    return type(x) is Tensor and x.device.type == "cpu" and not torch.compiler.is_compiling()


UNITS = Constants(1.0, 0.5)
"""The numbers 1 and 1/2."""

_WITH_AUTOCAST = ("cpu", "cuda")
_STEEP = 1e30
_NOTHING = 1e-30
# Of the derivative of tanh(x / 2) / x, over x.
_SLOPE_SERIES = Constants(-1 / 12, 1 / 60, -17 / 6720, 31 / 90720, -691 / 15966720)


def polynomial(x: Tensor, coefficients: tuple[Tensor, ...]) -> Tensor:
    """Horner's scheme.

    Parameters
    ----------
    x : Tensor, shape (...)
        Any value.
    coefficients : tuple of Tensor
        Lowest power first, each of a shape that broadcasts with x, as from `Constants.like`.

    Returns
    -------
    Tensor, shape (...)
        The polynomial.
    """
    return functools.reduce(
        lambda total, c: torch.addcmul(c, total, x), coefficients[-2::-1], coefficients[-1]
    )


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
    if torch.compiler.is_compiling():
        edge = x.new_full((), _STEEP * threshold)
    else:
        (edge,) = _edge(threshold).like(x)
    return torch.sub(edge, x.detach(), alpha=_STEEP).clamp(0.0, 1.0)


@functools.cache
def _edge(threshold: float) -> Constants:
    return Constants(_STEEP * threshold)


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


def _is_many(canopies: int, wavelengths: int) -> bool:
    """Whether canopies should lie side by side; a compiler is spared the question."""
    return torch.compiler.is_compiling() or canopies > wavelengths


def product(a: Tensor, b: Tensor) -> Tensor:
    """Matrix product in the precision of its arguments, where autocast would halve it too.

    Parameters
    ----------
    a, b : Tensor, shapes (..., M, K) or (..., K) and (..., K, N)
        Of one dtype.

    Returns
    -------
    Tensor, shape (..., M, N) or (..., N)
        The product.
    """
    kind = a.device.type
    if kind in _WITH_AUTOCAST and torch.is_autocast_enabled(kind):
        with torch.autocast(kind, enabled=False):
            return a @ b
    return a @ b


def weighted(weight: Tensor, values: Tensor) -> Tensor:
    """Weighted sum over the first axis.

    Parameters
    ----------
    weight : Tensor, shape (K,) or (S, K)
        Weights, of one sum or of several.
    values : Tensor, shape (K, ...)
        Values.

    Returns
    -------
    Tensor, shape (...) or (S, ...)
        The sum.
    """
    found = product(weight, values[..., None].flatten(1))
    return found.reshape(weight.shape[:-1] + values.shape[1:])


def mixed(amounts: Sequence[Tensor], spectra: Tensor) -> Tensor:
    """Sum of spectra, each times an amount.

    Parameters
    ----------
    amounts : sequence of C Tensor, shape (...)
        All of one shape.
    spectra : Tensor, shape (C, W)
        One spectrum for each.

    Returns
    -------
    Tensor, shape (..., W)
        The sum. Where there are more canopies than wavelengths the canopies lie side by side in
        memory (and so in all that is computed from the sum): a value that a canopy has for all
        wavelengths then meets long rows, which halves the time of an operation.
    """
    if amounts[0].dim() == 0 or not _is_many(amounts[0].shape[-1], spectra.shape[-1]):
        return product(torch.stack(tuple(amounts), dim=-1), spectra)
    return product(spectra.mT, torch.stack(tuple(amounts), dim=-2)).mT


def is_followed(x: Tensor) -> bool:
    """Whether autograd, a transform of torch.func or a compiler may follow what is done to x.

    Parameters
    ----------
    x : Tensor
        Any tensor.

    Returns
    -------
    bool
        False only where the values alone are wanted.
    """
    return (
        torch.is_grad_enabled()
        or torch.compiler.is_compiling()
        or torch.func.debug_unwrap(x) is not x
        or unpack_dual(x).tangent is not None
    )


def applied(function: type[Function], both_modes: type[Function], x: Tensor) -> Tensor:
    """Apply a function of one tensor that has derivatives of its own.

    Parameters
    ----------
    function : type of Function
        With the derivative for reverse mode.
    both_modes : type of Function
        The same with forward mode, which ``torch.compile`` cannot trace.
    x : Tensor
        The argument.

    Returns
    -------
    Tensor
        The value; where nobody asks for derivatives, at no more cost than its formula.
    """
    chosen_function = function if torch.compiler.is_compiling() else both_modes
    call = chosen_function.apply if is_followed(x) else chosen_function.forward
    value: Tensor = call(x)  # type: ignore[no-untyped-call]
    return value


def side_by_side(x: Tensor) -> Tensor:
    """Lay values in memory as `mixed` does.

    Parameters
    ----------
    x : Tensor, shape (..., W)
        Any values.

    Returns
    -------
    Tensor, shape (..., W)
        The same.
    """
    if x.dim() < 2 or x.shape[-1] == 1 or not _is_many(x.shape[-2], x.shape[-1]):
        return x
    return x.mT.contiguous().mT


def _tangent_ratio_slope(x: Tensor) -> Tensor:
    """Derivative of tanh(x / 2) / x, which autograd can differentiate further."""
    square = x * x
    near = is_below(square, 2.5e-3 if x.dtype == torch.float64 else 0.1)
    far = 1.0 / (x + near)
    ratio = torch.tanh(0.5 * x) * far
    # (1 - tanh^2) / 2 - ratio, over x
    outside = (0.5 - 0.5 * (ratio * x) ** 2 - ratio) * far
    return chosen(near, x * polynomial(square * near, _SLOPE_SERIES.like(x)), outside)


class _TangentRatio(Function):
    """tanh(x / 2) / x, with its derivative by a series near x = 0."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        _, half = UNITS.like(x)
        moved = x + x.new_full((), _NOTHING)
        return torch.tanh(half * moved) / moved

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad_outputs[0] * _tangent_ratio_slope(x)


class _TangentRatioBothModes(_TangentRatio):
    """The same with forward mode, which torch.compile cannot trace."""

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return tangents[0] * _tangent_ratio_slope(x)


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
    With x the logarithm it equals (a + b) tanh(x / 2) / x, which is exact to rounding for all x;
    its derivative is that of a series (of error below 1e-14 in float64, 1e-8 in float32) near
    x = 0.
    """
    return (a + b) * applied(_TangentRatio, _TangentRatioBothModes, log_ratio)
