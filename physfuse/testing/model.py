"""What a forward model is to the laws: a function, its domains, its outputs."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from types import MethodType
from typing import Literal, NamedTuple, TypeAlias, get_args

from torch import Tensor, nn

from physfuse.radiative.errors import DomainError, unknown_name

Points: TypeAlias = Mapping[str, Tensor]
"""A batch of arguments of a model by name, each of shape (points,), float64."""

Kind: TypeAlias = Literal["fraction", "power", "signed"]
"""Of an output: a part of 1, compared absolutely; linear power, relatively; or any number."""


class Domain(NamedTuple):
    """Values that an argument may have.

    Attributes
    ----------
    low, high : float
        Bounds, both inside.
    unit : str
        Unit of the argument.
    special : tuple of float
        Values inside at which formulas are known to break.
    """

    low: float
    high: float
    unit: str
    special: tuple[float, ...] = ()

    @property
    def width(self) -> float:
        """Distance of the bounds."""
        return self.high - self.low


@dataclass(frozen=True)
class ForwardModel:
    """A forward model and what can be said of it.

    Attributes
    ----------
    name : str
        Name in reports and test ids.
    function : callable
        Takes the arguments by name, tensors of broadcastable shapes (...); returns a tensor of
        shape (..., output) in their dtype. Of a module, or a method of one, a copy in the dtype
        and on the device of the arguments is run; a closure around a module has to cast itself.
    domain : mapping of str to Domain
        Every argument of the function and its domain, in the function's order; equal bounds hold
        an argument fixed.
    outputs : tuple of str
        Names of what lies on the last axis of the result. A trailing number, as in
        ``reflectance_670``, is a wavelength in nm.
    kind : {"fraction", "power", "signed"}
        How results are compared: parts of 1 and signed numbers absolutely, linear power
        relatively.
    laws : tuple of str
        Names of the laws in :data:`physfuse.testing.LAWS` that hold for it. A single string, here
        and in ``outputs``, is one name.
    float32_tolerance : float
        Largest difference of a float32 result from float64, relative to :meth:`scale`.
    off_kinks : callable
        Moves points off places where the physics itself has a kink, for laws about slopes.

    Raises
    ------
    UnknownNameError
        A kind that there is not.
    DomainError
        No arguments or outputs, an output twice, or a domain that is none or whose bounds are
        infinite or reversed.
    """

    name: str
    function: Callable[..., Tensor]
    domain: Mapping[str, Domain]
    outputs: tuple[str, ...]
    kind: Kind
    laws: tuple[str, ...]
    float32_tolerance: float = 1e-5
    off_kinks: Callable[[Points], Points] = dict
    _copies: dict[Hashable, tuple[Hashable, Callable[..., Tensor]]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        """Check what is described, once."""
        for attribute in ("outputs", "laws"):
            names = getattr(self, attribute)
            names = (names,) if isinstance(names, str) else tuple(names)
            object.__setattr__(self, attribute, names)
        if self.kind not in get_args(Kind):
            raise unknown_name("kind of output", self.kind, get_args(Kind))
        if not self.outputs or len(set(self.outputs)) < len(self.outputs):
            raise DomainError(
                f"{self.name}: outputs are {self.outputs}; give each output a name of its own"
            )
        if not isinstance(self.domain, Mapping) or not self.domain:
            raise DomainError(
                f"{self.name}: domain is {self.domain!r}; give a Domain for each argument by name"
            )
        for argument, domain in self.domain.items():
            _check_domain(f"{self.name}: domain of {argument!r}", domain)

    def __call__(self, points: Points) -> Tensor:
        """Result at points, shape (..., output)."""
        module = _module_of(self.function)
        if module is None:
            return self.function(**points)
        first = next(iter(points.values()))
        # Training between two calls makes another copy; versions count changes in place.
        state = tuple(t._version for t in (*module.parameters(), *module.buffers()))
        key = (first.dtype, first.device, module.training)
        if key not in self._copies or self._copies[key][0] != state:
            copied = copy.deepcopy(module).to(device=first.device, dtype=first.dtype)
            self._copies[key] = (state, _of_module(self.function, copied))
        return self._copies[key][1](**points)

    def scale(self, values: Tensor) -> Tensor:
        """Size against which errors of values are judged: their own for power, else at least 1."""
        own = values.detach().abs()
        return own if self.kind == "power" else own.clamp(min=1.0)

    def column(self, values: Tensor, output: str) -> Tensor:
        """One named output of a result, shape (...)."""
        if output not in self.outputs:
            raise unknown_name(f"output of {self.name}", output, self.outputs)
        return values[..., self.outputs.index(output)]


def _module_of(function: Callable[..., Tensor]) -> nn.Module | None:
    """The module that a function is or is a method of, None for any other."""
    owner = getattr(function, "__self__", function)
    return owner if isinstance(owner, nn.Module) else None


def _of_module(function: Callable[..., Tensor], module: nn.Module) -> Callable[..., Tensor]:
    """The same function of another module."""
    return MethodType(function.__func__, module) if isinstance(function, MethodType) else module


def _check_domain(what: str, domain: object) -> None:
    """Refuse a domain of an argument that is none or that holds nothing."""
    if not isinstance(domain, Domain):
        raise DomainError(f"{what} is {domain!r}; give Domain(low, high, unit)")
    if not -math.inf < domain.low <= domain.high < math.inf:
        raise DomainError(
            f"{what} goes from {domain.low} to {domain.high}; give finite bounds, the low one first"
        )
