"""Reflectance of leaf, canopy and soil with its derivatives in closed form, for inversion.

The same formulas as `plate_model` and `bidirectional_reflectance`, differentiated by hand: the leaf
forwards (two arguments, two results), the canopy backwards (eleven arguments, one result). It costs
a third of autograd and keeps nothing. Where the derivative of a formula is 0/0, the series of the
formula itself is differentiated.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ._numerics import UNITS, Constants, chosen, is_below, polynomial
from .expint import transmissivity_and_slope
from .prospect import ABSORPTANCE_FLOOR, NEAR, LeafSpectra, multiple_angle
from .sail import eigenvalue_floor

_NOTHING = Constants(1e-30)
_BEND = Constants(1 / 24, -1 / 240, 17 / 40320, -31 / 725760)


class CanopyPartials(NamedTuple):
    """Derivatives of the reflectance at each wavelength by the argument of the same name.

    Attributes
    ----------
    k, n, rsoil, lai, ks, ko, bf, sob, sof, tsstoo, sumint : Tensor, shape (..., W)
        Derivatives.
    """

    k: Tensor
    n: Tensor
    rsoil: Tensor
    lai: Tensor
    ks: Tensor
    ko: Tensor
    bf: Tensor
    sob: Tensor
    sof: Tensor
    tsstoo: Tensor
    sumint: Tensor


class _Leaf(NamedTuple):
    """Leaf reflectance and transmittance with their derivatives by k and n."""

    rho: Tensor
    tau: Tensor
    rho_k: Tensor
    tau_k: Tensor
    rho_n: Tensor
    tau_n: Tensor


class _Integral(NamedTuple):
    """J = integral of e^(-k x - m (L - x)) over the depth, and its derivative by k."""

    value: Tensor
    by_k: Tensor


def _integral(at_m: Tensor, at_k: Tensor, lai: Tensor, difference: Tensor) -> _Integral:
    """J from its limits e^(-m L), e^(-k L) and k - m."""
    _, half = UNITS.like(at_k)
    (nothing,) = _NOTHING.like(at_k)
    x = difference * lai
    moved = x + nothing
    ratio = torch.tanh(half * moved) / moved  # of the logarithmic mean, see `log_mean`
    square = x * x
    near = is_below(square, 2.5e-3 if x.dtype == torch.float64 else 0.1)
    # (1/2 - ratio) / x^2, by its series near x = 0
    bend = chosen(near, polynomial(square * near, _BEND.like(x)), (half - ratio) / (square + near))
    level = lai * (at_m + at_k)
    value = level * ratio
    return _Integral(value, lai * torch.addcmul(level * (x * bend), half, value, value=-1.0))


def _multiple_angle_slope(order: Tensor, y_sq: Tensor) -> Tensor:
    """Derivative of `multiple_angle` by y^2, by the same series."""
    order_sq = order * order
    total = 1.0 + (order_sq - 49.0) / 54.0 * y_sq
    for odd_sq, denominator in ((25.0, 28.0), (9.0, 10.0)):
        total = 1.0 + (order_sq - odd_sq) / denominator * y_sq * total
    return order * (order_sq - 1.0) / 6.0 * total


def _leaf(k: Tensor, n: Tensor, spectra: LeafSpectra) -> _Leaf:
    """`plate_model` and its derivatives.

    With z = cosh(log b), U = sinh(m log b) / sinh(log b), C = cosh(m log b): dC/dz = m U, dU/dz =
    (m C - z U) / (z^2 - 1).
    """
    t_surface, t_in, t_out = (
        t.to(k.dtype) for t in (spectra.t_surface, spectra.t_inward, spectra.t_outward)
    )
    one, half = UNITS.like(k)
    tau, tau_slope = transmissivity_and_slope(k)
    tau = tau.clamp_min(1e-9 if k.dtype == torch.float32 else 1e-60)
    inside = (1.0 - t_out) * tau
    open_once = (one - inside).reciprocal()
    open_twice = open_once / (one + inside)
    t = (t_in * t_out) * tau * open_twice
    r = torch.addcmul(1.0 - t_in, inside, t)
    relative = torch.addcmul(open_twice, inside * inside, open_twice) * tau_slope / tau
    t_k = t * relative
    r_k = torch.addcmul(inside * t_k, 1.0 - t_out, tau_slope * t)
    absorbed = t_in * (one - tau) * open_once + ABSORPTANCE_FLOOR * torch.finfo(k.dtype).eps
    absorbed_k = (t_in * t_out) * (-open_once * open_once * tau_slope)
    difference = r - t
    lower = one + difference
    less = absorbed * lower
    root_sq = less * (one - difference) * (one + r + t)
    half_over_t = half / t
    z_less_one = less * half_over_t
    z_k = half_over_t * torch.addcmul(absorbed_k * lower, absorbed, r_k - t_k)
    z_k = z_k - z_less_one * relative
    y = torch.sqrt(root_sq) * half_over_t
    m = n - 1.0
    log_b = torch.log1p(z_less_one + y)
    decay = torch.exp(-m * log_b)
    c = torch.addcmul(half, half * decay, decay)
    y_sq = y * y
    near, series_at = is_below(y_sq, NEAR), y_sq.clamp_max(NEAR)
    z = one + z_less_one
    u = chosen(near, decay * multiple_angle(m, series_at), (one - c) / y)
    u_z = chosen(
        near,
        2.0 * z * decay * _multiple_angle_slope(m, series_at),
        (m * c - u * z) / y_sq,
    )
    lost = torch.addcmul(torch.addcmul(one, r, r, value=-1.0), t, t, value=-1.0)
    share = lost * half_over_t
    per = torch.addcmul(c, share, u).reciprocal()
    ratio = (t_surface / t_in) * t * per
    bounced = ratio * r
    x_k = torch.addcmul(m * u * z_k, share, u_z * z_k - u * relative)
    x_k = x_k - (r * r_k + t * t_k) * u / t
    gain = relative - x_k * per
    rho = (1.0 - t_surface) + (t_surface / t_in) * (r - (1.0 - t_in)) + bounced * u
    rho_k = (t_surface / t_in) * r_k + ratio * u * r_k + bounced * torch.addcmul(u_z * z_k, u, gain)
    transmitted = decay * ratio
    u_n = log_b / y * c
    gain_n = torch.addcmul(log_b * y * u, share, u_n) * per
    return _Leaf(
        rho=rho,
        tau=transmitted,
        rho_k=rho_k,
        tau_k=transmitted * gain,
        rho_n=bounced * (u_n - u * gain_n),
        tau_n=-transmitted * gain_n,
    )


class _Beam(NamedTuple):
    """A direct beam as in `sail`, with what its derivatives need."""

    gap: Tensor
    down: Tensor
    up: Tensor
    source: Tensor
    mirrored: Tensor
    transfer: _Integral
    behind: Tensor
    transmitted: Tensor
    per_sum: Tensor


class _Diffuse(NamedTuple):
    """Diffuse light as in `sail`."""

    lai: Tensor
    total: Tensor
    along: Tensor
    m: Tensor
    above: Tensor
    below: Tensor
    sigb: Tensor
    decay: Tensor
    rdd: Tensor
    tdd: Tensor


class _Adjoint(NamedTuple):
    """Derivative of the reflectance by what a beam has in common with the rest."""

    k: Tensor
    lai: Tensor
    m: Tensor
    above: Tensor
    below: Tensor
    sigb: Tensor
    rdd: Tensor
    tdd: Tensor
    total: Tensor
    half: Tensor


def _beam(k: Tensor, d: _Diffuse) -> _Beam:
    gap = torch.exp(-k * d.lai)
    transfer = _integral(d.decay, gap, d.lai, k - d.m)
    _, half = UNITS.like(gap)
    bright, uneven = (half * k) * d.total, half * d.along
    down, up = bright - uneven, bright + uneven
    source = torch.addcmul(down * d.above, up, d.sigb)
    mirrored = torch.addcmul(up * d.below, down, d.sigb)
    behind = torch.addcmul(up * gap, mirrored, transfer.value)
    per_sum = (k + d.m).reciprocal()
    scattered = torch.addcmul(source * transfer.value, d.rdd, behind, value=-1.0)
    transmitted = torch.addcmul(scattered, down, d.tdd - gap)
    return _Beam(gap, down, up, source, mirrored, transfer, behind, transmitted * per_sum, per_sum)


def _plus(start: Tensor | None, a: Tensor, b: Tensor) -> Tensor:
    """Sum of start (nothing counts as 0) and a b."""
    return a * b if start is None else torch.addcmul(start, a, b)


def _beam_adjoint(
    beam: _Beam,
    k: Tensor,
    d: _Diffuse,
    *,
    k_bar: Tensor,
    gap: Tensor,
    down: Tensor,
    up: Tensor | None,
    source: Tensor | None,
    mirrored: Tensor | None,
    transfer: Tensor | None,
    behind: Tensor,
    transmitted: Tensor,
) -> _Adjoint:
    """Carry the derivatives by the parts of a beam back to what it was made of."""
    scaled = transmitted * beam.per_sum
    m_bar = k_bar - scaled * beam.transmitted
    behind = torch.addcmul(behind, scaled, d.rdd, value=-1.0)
    source = _plus(source, scaled, beam.transfer.value)
    mirrored = _plus(mirrored, behind, beam.transfer.value)
    transfer = _plus(transfer, scaled, beam.source)
    transfer = torch.addcmul(transfer, behind, beam.mirrored)
    down = torch.addcmul(down, scaled, d.tdd - beam.gap)
    gap = torch.addcmul(gap, scaled, beam.down, value=-1.0)
    gap = torch.addcmul(gap, behind, beam.up)
    up = _plus(up, behind, beam.gap)
    down = torch.addcmul(down, source, d.above)
    down = torch.addcmul(down, mirrored, d.sigb)
    up = torch.addcmul(up, source, d.sigb)
    up = torch.addcmul(up, mirrored, d.below)
    sigb = torch.addcmul(source * beam.up, mirrored, beam.down)
    bright = down + up
    by_k = transfer * beam.transfer.by_k
    drop = gap * beam.gap
    whole = transfer * beam.transfer.value
    return _Adjoint(
        k=torch.addcmul(m_bar + by_k - d.lai * drop, bright, d.total, value=0.5),
        lai=transfer * beam.gap - d.m * whole - k * drop,
        m=m_bar - by_k - d.lai * whole,
        above=source * beam.down,
        below=mirrored * beam.up,
        sigb=sigb,
        rdd=-scaled * beam.behind,
        tdd=scaled * beam.down,
        total=(0.5 * k) * bright,
        half=up - down,
    )


def reflectance_jacobian(
    k: Float[Tensor, "*#batch"],
    n: Float[Tensor, "*#batch"],
    rsoil: Float[Tensor, "*#batch"],
    lai: Float[Tensor, "*#batch"],
    ks: Float[Tensor, "*#batch"],
    ko: Float[Tensor, "*#batch"],
    bf: Float[Tensor, "*#batch"],
    sob: Float[Tensor, "*#batch"],
    sof: Float[Tensor, "*#batch"],
    tsstoo: Float[Tensor, "*#batch"],
    sumint: Float[Tensor, "*#batch"],
    spectra: LeafSpectra,
) -> tuple[Float[Tensor, "*#batch"], CanopyPartials]:
    """Bidirectional reflectance with its derivatives by every argument, at every wavelength.

    Parameters
    ----------
    k : Tensor, shape (..., W)
        Absorption of one plate of the leaf, as from `absorption`. [1]
    n : Tensor, shape (..., 1)
        Number of plates. [1]
    rsoil : Tensor, shape (..., W)
        Soil reflectance, 0 to 1. [1]
    lai, ks, ko, bf, sob, sof, tsstoo, sumint : Tensor, shape (..., 1)
        As in `bidirectional_reflectance`.
    spectra : LeafSpectra
        Constants at the same W wavelengths.

    Returns
    -------
    reflectance : Tensor, shape (..., W)
        As from `bidirectional_reflectance` of `plate_model`. [1]
    partials : CanopyPartials
        Derivatives; neither they nor the reflectance are known to autograd.

    Notes
    -----
    The arguments that have one value per canopy are treated as if they had one per wavelength:
    averages over bands of the derivatives are the derivatives of the averages over bands.
    """
    with torch.no_grad():
        return _reflectance_jacobian(
            _leaf(k, n, spectra), rsoil, lai, ks, ko, bf, sob, sof, tsstoo, sumint
        )


def _reflectance_jacobian(
    leaf: _Leaf,
    rsoil: Tensor,
    lai: Tensor,
    ks: Tensor,
    ko: Tensor,
    bf: Tensor,
    sob: Tensor,
    sof: Tensor,
    tsstoo: Tensor,
    sumint: Tensor,
) -> tuple[Tensor, CanopyPartials]:
    total, uneven = leaf.rho + leaf.tau, leaf.rho - leaf.tau
    along = bf * uneven
    one, half = UNITS.like(total)
    absorbed, other = one - total, one + along
    floor = eigenvalue_floor(total.dtype)
    m = torch.sqrt((torch.addcmul(absorbed, absorbed, along) + floor).clamp_min(0.02 * floor))
    sigb = half * (total + along)
    att = absorbed + sigb
    decay = torch.exp(-m * lai)
    decay_sq = decay * decay
    spread = _integral(one, decay_sq, lai, m + m)
    per = torch.addcmul(torch.addcmul(half, half, decay_sq), att, spread.value).reciprocal()
    spread_per = spread.value * per
    rdd, tdd = sigb * spread_per, decay * per
    d = _Diffuse(lai, total, along, m, att + m, att - m, sigb, decay, rdd, tdd)
    sun, view = _beam(ks, d), _beam(ko, d)
    view_reflected = torch.addcmul(view.up, view.down, rdd) - tdd * view.behind
    view_reflected = view_reflected * view.per_sum

    inverse_sum, contrast = 1.0 / (ks + ko), ks - ko
    both = (1.0 - sun.gap * view.gap) * inverse_sum
    coupling = torch.addcmul(sun.source * view.up, sun.mirrored, view.down) * view.per_sum
    parted = torch.addcmul(both, sun.transfer.value, view.gap, value=-1.0)
    tilt = total * along
    multiple = sun.per_sum * (
        coupling * parted
        - tilt * (0.5 * contrast * both)
        + sun.down * view_reflected
        - sun.behind * view.transmitted
    )
    depth = lai * sumint
    single = sob * leaf.rho + sof * leaf.tau
    echo = torch.addcmul(one, rsoil, rdd, value=-1.0).reciprocal()
    lit, seen = sun.gap + sun.transmitted, view.gap + view.transmitted
    through = lit * seen * echo
    ground = tsstoo - sun.gap * view.gap + through
    reflectance = torch.addcmul(single * depth + multiple, rsoil, ground)

    share = rsoil * echo
    rdd_bar = share * rsoil * through
    by_coupling = sun.per_sum * parted
    by_parted = sun.per_sum * coupling
    by_tilt = -0.5 * sun.per_sum * (contrast * both)
    by_contrast = -0.5 * sun.per_sum * tilt
    by_both = by_parted + by_contrast * contrast
    coupled = by_coupling * view.per_sum
    by_reflected = sun.per_sum * sun.down * view.per_sum
    drain = by_both * inverse_sum
    loss = drain * both
    from_sun = _beam_adjoint(
        sun,
        ks,
        d,
        k_bar=-sun.per_sum * multiple,
        gap=share * seen - (rsoil + drain) * view.gap,
        down=sun.per_sum * view_reflected,
        up=None,
        source=coupled * view.up,
        mirrored=coupled * view.down,
        transfer=-by_parted * view.gap,
        behind=-sun.per_sum * view.transmitted,
        transmitted=share * seen,
    )
    from_view = _beam_adjoint(
        view,
        ko,
        d,
        k_bar=-by_coupling * coupling * view.per_sum - by_reflected * view_reflected,
        gap=share * lit - (rsoil + drain) * sun.gap - by_parted * sun.transfer.value,
        down=torch.addcmul(coupled * sun.mirrored, by_reflected, rdd),
        up=torch.addcmul(by_reflected, coupled, sun.source),
        source=None,
        mirrored=None,
        transfer=None,
        behind=-by_reflected * tdd,
        transmitted=share * lit - sun.per_sum * sun.behind,
    )
    rdd_bar = rdd_bar + by_reflected * view.down + from_sun.rdd + from_view.rdd
    tdd_bar = from_sun.tdd + from_view.tdd - by_reflected * view.behind
    per_bar = -per * torch.addcmul(rdd_bar * rdd, tdd_bar, tdd)
    spread_bar = torch.addcmul(per_bar * att, rdd_bar * sigb, per)
    decay_bar = torch.addcmul(per_bar * decay, tdd_bar, per)
    above_bar = from_sun.above + from_view.above
    below_bar = from_sun.below + from_view.below
    att_bar = above_bar + below_bar + per_bar * spread.value
    m_bar = from_sun.m + from_view.m + above_bar - below_bar
    fading = decay_bar * decay
    m_bar = m_bar + 2.0 * spread_bar * spread.by_k - lai * fading
    sigb_bar = torch.addcmul(from_sun.sigb + from_view.sigb + att_bar, rdd_bar, spread_per)
    half_m = half * m_bar / m
    absorbed_bar = torch.addcmul(att_bar, half_m, other)
    total_bar = torch.add(from_sun.total + from_view.total - absorbed_bar, sigb_bar, alpha=0.5)
    total_bar = torch.addcmul(total_bar, by_tilt, along)
    along_bar = half * (from_sun.half + from_view.half + sigb_bar)
    along_bar = torch.addcmul(along_bar, by_tilt, total)
    along_bar = torch.addcmul(along_bar, half_m, absorbed)
    uneven_bar = bf * along_bar
    rho_bar = torch.addcmul(total_bar + uneven_bar, depth, sob)
    tau_bar = torch.addcmul(total_bar - uneven_bar, depth, sof)
    swap = by_contrast * both
    return reflectance, CanopyPartials(
        k=torch.addcmul(rho_bar * leaf.rho_k, tau_bar, leaf.tau_k),
        n=torch.addcmul(rho_bar * leaf.rho_n, tau_bar, leaf.tau_n),
        rsoil=torch.addcmul(ground, share * through, rdd),
        lai=from_sun.lai + from_view.lai + spread_bar * decay_sq - m * fading + single * sumint,
        ks=from_sun.k + swap - loss,
        ko=from_view.k - swap - loss,
        bf=along_bar * uneven,
        sob=depth * leaf.rho,
        sof=depth * leaf.tau,
        tsstoo=rsoil.expand_as(reflectance),
        sumint=lai * single,
    )
