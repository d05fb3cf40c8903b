"""Reflectance of leaf, canopy and soil with its derivatives in closed form, for inversion.

The same formulas as `plate_model` and `bidirectional_reflectance`, differentiated by hand from the
reflectance backwards. Nothing is kept for a second pass: the values that the derivatives need are
those of the first, still in the processor's cache. Sun and view, and whatever else is of one form,
lie on a leading axis and share their operations, whose start costs as much as their arithmetic;
what this module made itself it writes over. Where the derivative of a formula is 0/0, the series of
the formula itself is differentiated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ._numerics import UNITS, Constants, chosen, is_below, polynomial, product
from .expint import leaf_transmissivity, transmissivity_and_slope
from .prospect import ABSORPTANCE_FLOOR, NEAR, LeafSpectra, angle_series
from .sail import eigenvalue_floor

_BEND = Constants(1 / 24, -1 / 240, 17 / 40320, -31 / 725760)
_OF_PATH = Constants(-1.0, -1.0, 2.0)
_SLOPE_SERIES = tuple(
    Constants(-odd_sq / denominator, 1.0 / denominator)
    for odd_sq, denominator in ((49.0, 54.0), (25.0, 28.0), (9.0, 10.0))
)
_FIRST_SLOPE = Constants(-1 / 6, 1 / 6)

_FLOORS = {
    dtype: Constants(eigenvalue_floor(dtype), 0.02 * eigenvalue_floor(dtype), 1e-30)
    for dtype in (torch.float32, torch.float64)
}

Average = Callable[[Tensor], Tensor]
"""From values at the wavelengths to values in bands, or to the same."""


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
    """`plate_model` with what its derivatives need.

    With z = cosh(log b), U = sinh(m log b) / sinh(log b) and C = cosh(m log b) the reflectance is
    first + g r U / (C + s U) and the transmittance g / (C + s U); m = n - 1, s = (1 - r^2 - t^2) /
    2t and g in proportion to t. Here u and c are U and C times the decay b^-m.
    """

    rho: Tensor
    tau: Tensor
    m: Tensor
    log_b: Tensor
    decay: Tensor
    c: Tensor
    u: Tensor
    y: Tensor
    z_less_one: Tensor
    share: Tensor
    per: Tensor
    ratio: Tensor
    r: Tensor
    t: Tensor
    lower: Tensor
    absorbed: Tensor
    half_over_t: Tensor
    inside: Tensor
    open_once: Tensor
    open_twice: Tensor
    tau_slope: Tensor


def _multiple_angle_slope(order: Tensor, y_sq: Tensor) -> Tensor:
    """Derivative of `multiple_angle` by y^2, by the same series."""
    at_none, slope = _FIRST_SLOPE.like(order)
    first = torch.addcmul(at_none, slope, order * order).mul_(order)
    return first * angle_series(order, y_sq, _SLOPE_SERIES)


def _surfaces(spectra: LeafSpectra, k: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Transmissivity of the surface for the light of a cone, inwards and outwards."""
    return (
        spectra.t_surface.to(k.dtype),
        spectra.t_inward.to(k.dtype),
        spectra.t_outward.to(k.dtype),
    )


def _leaf(k: Tensor, n: Tensor, spectra: LeafSpectra, *, slopes: bool) -> _Leaf:
    """Reflectance and transmittance of the leaf; without slopes that of tau is k itself."""
    if n.shape != (*k.shape[:-1], 1):
        k = k.expand(torch.broadcast_shapes(k.shape, n.shape))
    t_surface, t_in, t_out = _surfaces(spectra, k)
    one, half = UNITS.like(k)
    tau, tau_slope = transmissivity_and_slope(k) if slopes else (leaf_transmissivity(k), k)
    tau = tau.clamp_min(1e-9 if k.dtype == torch.float32 else 1e-60)
    inside = (one - t_out) * tau
    open_once = (one - inside).reciprocal_()
    open_twice = open_once / (one + inside)
    t = (tau * open_twice).mul_(t_in * t_out)
    r = torch.addcmul(one - t_in, inside, t)
    floor = k.new_full((), ABSORPTANCE_FLOOR * torch.finfo(k.dtype).eps)
    absorbed = torch.addcmul(floor, (one - tau).mul_(t_in), open_once)
    lower = (r - t).add_(one)
    less = absorbed * lower
    lost = torch.addcmul(one, r, r, value=-1.0).addcmul_(t, t, value=-1.0)
    half_over_t = half / t
    # (1 + t)^2 - r^2 = lost + 2 t (1 + t)
    root_sq = torch.addcmul(lost, t, t + one, value=2.0).mul_(less)
    y = root_sq.sqrt_().mul_(half_over_t)
    z_less_one = less.mul_(half_over_t)
    m = n - one
    log_b = (z_less_one + y).log1p_()
    depth = log_b * m
    decay = torch.exp(-depth)
    c = torch.addcmul(half, half * decay, decay)
    u = depth.tanh_().mul_(c).div_(y)  # as exact near y = 0 as the series of `plate_model`
    share = lost.mul_(half_over_t)
    per = torch.addcmul(c, share, u).reciprocal_()
    outer = t_surface / t_in
    ratio = (t * per).mul_(outer)
    rho = torch.addcmul(one - t_surface - outer * (one - t_in), outer, r)
    rho.addcmul_(ratio * r, u)
    return _Leaf(
        *(rho, decay * ratio, m, log_b, decay, c, u, y, z_less_one, share, per, ratio),
        *(r, t, lower, absorbed, half_over_t, inside, open_once, open_twice, tau_slope),
    )


def _leaf_adjoint(
    leaf: _Leaf, rho_bar: Tensor, tau_bar: Tensor, spectra: LeafSpectra
) -> tuple[Tensor, Tensor]:
    """Derivatives by k and n from those by reflectance and transmittance."""
    t_surface, t_in, t_out = _surfaces(spectra, leaf.r)
    one, _ = UNITS.like(leaf.r)
    m, u, y, share, inside, hot = leaf.m, leaf.u, leaf.y, leaf.share, leaf.inside, leaf.half_over_t
    scaled = rho_bar * leaf.ratio
    bounced = scaled * leaf.r
    whole = (bounced * u).addcmul_(tau_bar, leaf.tau)
    wide = (whole * leaf.per).mul_(u)
    # by u, at s and c of the denominator held
    lever = torch.addcmul(bounced, whole * leaf.per, share, value=-1.0)
    y_sq = y * y
    series = _multiple_angle_slope(m, y_sq.clamp_max(NEAR)).mul_(leaf.decay)
    z = leaf.z_less_one + one
    u_z = chosen(
        is_below(y_sq, NEAR),
        series.mul_(z).mul_(one + one),
        (m * leaf.c).addcmul_(u, z, value=-1.0).div_(y_sq),
    )
    n_bar = (lever * leaf.c).div_(y).addcmul_(wide, y, value=-1.0).mul_(leaf.log_b)
    z_bar = (lever * u_z).addcmul_(wide, m, value=-1.0)
    less_bar = z_bar.mul_(hot)
    by_absorbed = less_bar * leaf.absorbed
    r_bar = scaled.mul_(u).addcmul_(rho_bar, t_surface / t_in).add_(by_absorbed)
    r_bar = r_bar.addcmul_(wide * leaf.r, hot, value=2.0)
    t_bar = torch.addcmul(wide, whole.addcmul_(wide, share), hot, value=2.0)
    t_bar = t_bar.sub_(by_absorbed).addcmul_(less_bar, leaf.z_less_one, value=-2.0)
    t_bar = t_bar.addcmul_(r_bar, inside)
    # by the transmissivity of the inside, of which r, t and the absorptance are functions
    both = t_in * t_out
    by_t = torch.addcmul(one, inside * inside, leaf.open_twice, value=2.0)
    tau_bar = t_bar.mul_(by_t.mul_(leaf.open_twice).mul_(both))
    tau_bar = tau_bar.addcmul_(r_bar.mul_(leaf.t), one - t_out)
    once = (leaf.open_once * leaf.open_once).mul_(both)
    tau_bar = tau_bar.addcmul_(less_bar.mul_(leaf.lower), once, value=-1.0)
    return tau_bar.mul_(leaf.tau_slope), n_bar


def _bend(x: Tensor, ratio: Tensor) -> Tensor:
    """(1/2 - ratio) / x with ratio = tanh(x / 2) / x, by its series near x = 0."""
    _, half = UNITS.like(x)
    square = x * x
    near = is_below(square, 2.5e-3 if x.dtype == torch.float64 else 0.1)
    series = polynomial(square * near, _BEND.like(x))
    return chosen(near, series, (half - ratio).div_(square + near)).mul_(x)


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
    weights: Float[Tensor, "wavelength band"] | None = None,
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
    weights : Tensor, shape (W, B), optional
        Of bands: the derivatives by what a canopy has one value of come as averages over them.

    Returns
    -------
    reflectance : Tensor, shape (..., W)
        As from `bidirectional_reflectance` of `plate_model`. [1]
    partials : CanopyPartials
        Derivatives; neither they nor the reflectance are known to autograd. With weights all but
        those by `k` and `rsoil` are of shape (..., B).

    Notes
    -----
    The arguments that have one value per canopy are treated as if they had one per wavelength:
    averages over bands of the derivatives are the derivatives of the averages over bands. With
    weights fewer arrays of the size of the spectra are made, for factors that have one value per
    canopy are applied to the averages. Some sixty such arrays live at a time.
    """
    with torch.no_grad():
        average: Average = _same
        if weights is not None:
            across = weights.mT

            def average(x: Tensor) -> Tensor:
                return product(across, x.mT).mT  # canopies stay side by side in memory

        leaf = _leaf(k, n, spectra, slopes=True)
        given = (rsoil, lai, ks, ko, bf, sob, sof, tsstoo, sumint)
        canopy = _canopy(*_in_one_shape(leaf.rho, leaf.tau, given))
        rho_bar, tau_bar, partials = _canopy_adjoint(canopy, average)
        k_bar, n_bar = _leaf_adjoint(leaf, rho_bar, tau_bar, spectra)
        return canopy.reflectance, CanopyPartials(k=k_bar, n=average(n_bar), **partials)


def reflectance_value(spectra: LeafSpectra, *arguments: Tensor) -> Tensor:
    """Bidirectional reflectance alone, unknown to autograd.

    Parameters
    ----------
    spectra : LeafSpectra
        Constants at W wavelengths.
    *arguments : Tensor, shapes (..., W) and (..., 1)
        Those of `reflectance_jacobian`, in its order.

    Returns
    -------
    Tensor, shape (..., W)
        As from `bidirectional_reflectance` of `plate_model`. [1]
    """
    with torch.no_grad():
        k, n, *given = arguments
        rho, tau = _leaf(k, n, spectra, slopes=False)[:2]  # the rest of the leaf is let go
        return _canopy(*_in_one_shape(rho, tau, given)).reflectance


def _in_one_shape(rho: Tensor, tau: Tensor, given: Sequence[Tensor]) -> list[Tensor]:
    """Leaf and other arguments, the leaf in the shape of the result, the others with its axes."""
    shapes = (rho.shape, (*rho.shape[:-1], 1))
    if all(x.shape in shapes for x in given):
        return [rho, tau, *given]
    shape = torch.broadcast_shapes(rho.shape, *(x.shape for x in given))
    others = [x.expand(*shape[:-1], x.shape[-1]) for x in given]
    return [rho.expand(shape), tau.expand(shape), *others]


def _same(x: Tensor) -> Tensor:
    return x


class _Canopy(NamedTuple):
    """`bidirectional_reflectance` with what its derivatives need.

    The names are those of `sail`. The fluxes that a beam of extinction k makes are down = k ht - e,
    up = k ht + e, source = k x1 - e p2 and mirrored = k x3 + e p4, with the halves ht of the total
    and e of along, x1 = ht p1 and x3 = ht p3. What both beams have lies on a leading axis, the sun
    first.
    """

    reflectance: Tensor
    given: tuple[Tensor, ...]
    diffuse: tuple[Tensor, ...]
    shared: tuple[Tensor, ...]
    beams: tuple[Tensor, ...]
    fluxes: tuple[Tensor, ...]
    multiple: tuple[Tensor, ...]
    ground: tuple[Tensor, ...]


def _canopy(
    rho: Tensor,
    tau: Tensor,
    rsoil: Tensor,
    lai: Tensor,
    ks: Tensor,
    ko: Tensor,
    bf: Tensor,
    sob: Tensor,
    sof: Tensor,
    tsstoo: Tensor,
    sumint: Tensor,
) -> _Canopy:
    """Reflectance of canopy and soil; rho has the shape of the result."""
    # Diffuse light and the terms that both beams share.
    one, half = UNITS.like(rho)
    floor, least, nothing = _FLOORS[rho.dtype].like(rho)
    uneven = rho - tau
    total = rho + tau
    absorbed, ht = one - total, total.mul_(half)
    e = (half * bf) * uneven
    other = torch.add(one, e, alpha=2.0)
    m = torch.addcmul(floor, absorbed, other).clamp_min_(least).sqrt_()
    sigb = ht + e
    att = absorbed + sigb
    path = m * lai
    decay = torch.exp(-path)
    p1, p2, p3, p4 = other + m, absorbed + m, other - m, absorbed - m
    x1, x3 = ht * p1, ht * p3
    # Of k x - m (L - x) over the depth: the two beams, and diffuse light back and forth.
    decays = torch.stack(torch.broadcast_tensors(ks, ko, nothing))
    beams, to_gap = decays[:2], decays * lai
    gap = torch.exp(-to_gap[:2])
    x = torch.addcmul(to_gap, _OF_PATH.along_first(m), path).add_(nothing)
    ratio = torch.tanh(half * x).div_(x)  # of the logarithmic mean, see `log_mean`
    h = (lai + lai) * ratio[2]
    q = torch.addcmul(one, att, h).reciprocal_()
    hq = h * q
    rdd = sigb * hq
    tdd = (decay * q).div_(torch.addcmul(half, half * decay, decay))
    # Beams, on a leading axis.
    level = (decay + gap).mul_(lai)
    transfer = level * ratio[:2]
    per = (beams + m).reciprocal_()
    minus_e = -e
    down, up = torch.addcmul(minus_e, beams, ht), torch.addcmul(e, beams, ht)
    source = torch.addcmul(minus_e.mul_(p2), beams, x1)
    mirrored = torch.addcmul(e * p4, beams, x3)
    behind = (up * gap).addcmul_(mirrored, transfer)
    beyond = tdd - gap
    seen = (source * transfer).addcmul_(behind, rdd, value=-1.0).addcmul_(down, beyond).mul_(per)
    (down_s, down_o), (behind_s, behind_o) = down.unbind(0), behind.unbind(0)
    (gap_s, gap_o), (per_s, per_o), up_o = gap.unbind(0), per.unbind(0), up[1]
    rdo = torch.addcmul(up_o, down_o, rdd).addcmul_(tdd, behind_o, value=-1.0).mul_(per_o)
    # Light that the canopy alone scatters more than once, and the ground.
    inverse_sum, contrast = (ks + ko).reciprocal_(), ks - ko
    hidden = gap_s * gap_o
    both = (one - hidden).mul_(inverse_sum)
    uncommon = contrast * both
    coupling = (source[0] * up_o).addcmul_(mirrored[0], down_o).mul_(per_o)
    parted = torch.addcmul(both, transfer[0], gap_o, value=-1.0)
    tilt = ht * e
    multiple = (coupling * parted).addcmul_(uncommon, tilt, value=-2.0).addcmul_(down_s, rdo)
    multiple = multiple.addcmul_(behind_s, seen[1], value=-1.0).mul_(per_s)
    depth = lai * sumint
    echo = torch.addcmul(one, rsoil, rdd, value=-1.0).reciprocal_()
    reaching = seen + gap
    through = (reaching[0] * reaching[1]).mul_(echo)
    open_ground = tsstoo - hidden
    reflectance = torch.addcmul(multiple, rsoil, through + open_ground)
    reflectance = reflectance.addcmul_(sob * depth, rho).addcmul_(sof * depth, tau)
    return _Canopy(
        reflectance,
        given=(rho, tau, rsoil, lai, ks, ko, bf, sob, sof, sumint),
        diffuse=(uneven, absorbed, ht, e, other, m, sigb, att, h, q, hq, rdd, tdd),
        shared=(p1, p2, p3, p4, x1, x3, x, ratio, rdo),
        beams=(beams, gap, level, transfer, per, down, up),
        fluxes=(source, mirrored, behind, beyond, seen, reaching),
        multiple=(inverse_sum, contrast, both, uncommon, coupling, parted, tilt, multiple),
        ground=(depth, echo, through, open_ground),
    )


def _canopy_adjoint(canopy: _Canopy, average: Average) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Derivatives of the reflectance by those of the leaf at the wavelengths, and all others.

    x_bar is the derivative by x. The canopy is written over.
    """
    rho, tau, rsoil, lai, ks, ko, bf, sob, sof, sumint = canopy.given
    uneven, absorbed, ht, e, other, m, sigb, att, h, q, hq, rdd, tdd = canopy.diffuse
    p1, p2, p3, p4, x1, x3, x, ratio, rdo = canopy.shared
    beams, gap, level, transfer, per, down, up = canopy.beams
    source, mirrored, behind, beyond, seen, reaching = canopy.fluxes
    inverse_sum, contrast, both, uncommon, coupling, parted, tilt, multiple = canopy.multiple
    depth, echo, through, open_ground = canopy.ground
    _, half = UNITS.like(rho)
    bend = _bend(x, ratio)
    turn, spread, spread_bend = x[2].mul_(ratio[2]), ratio[2], bend[2]
    (gap_s, gap_o), (per_s, per_o), seen_o = gap.unbind(0), per.unbind(0), seen[1]
    (down_s, down_o), (reaching_s, reaching_o) = down.unbind(0), reaching.unbind(0)
    (behind_s, behind_o), transfer_s, source_s = behind.unbind(0), transfer[0], source[0]
    share = rsoil * echo
    rsoil_bar = torch.addcmul(open_ground, through, echo)
    rdd_bar = through.mul_(share).mul_(rsoil)
    gap_bar = torch.empty_like(seen)
    gap_bar_s, gap_bar_o = gap_bar.unbind(0)
    torch.mul(share, reaching_o, out=gap_bar_s)
    torch.mul(share, reaching_s, out=gap_bar_o)
    by_view = per_s * per_o
    view_bar, couple = by_view * down_s, parted.mul_(by_view)
    parted_bar = per_s * coupling
    light = gap_bar * per
    light_s, light_o = light.unbind(0)
    light_o.addcmul_(by_view, behind_s, value=-1.0)
    lit, loss = light * down, light * rdd
    (lit_s, lit_o), (loss_s, loss_o) = lit.unbind(0), loss.unbind(0)
    tdd_bar = (lit_s + lit_o).addcmul_(view_bar, behind_o, value=-1.0)
    rdd_bar.addcmul_(light_s, behind_s, value=-1.0).addcmul_(light_o, behind_o, value=-1.0)
    rdd_bar.addcmul_(view_bar, down_o)
    loss_s.addcmul_(per_s, seen_o)
    loss_o.addcmul_(view_bar, tdd)
    fade = seen.mul_(light)
    fade_s, fade_o = fade.unbind(0)
    fade_s.addcmul_(per_s, multiple)
    fade_o.addcmul_(view_bar, rdo).addcmul_(couple, coupling)
    gap_bar.sub_(lit).addcmul_(loss, up, value=-1.0)
    gap_bar_o.addcmul_(parted_bar, transfer_s, value=-1.0)
    transfer_bar = (source * light).addcmul_(loss, mirrored, value=-1.0)
    transfer_bar_s, transfer_bar_o = transfer_bar.unbind(0)
    transfer_bar_s.addcmul_(parted_bar, gap_o, value=-1.0)
    down_bar = beyond.mul_(light)
    down_bar_s, down_bar_o = down_bar.unbind(0)
    down_bar_s.addcmul_(per_s, rdo)
    down_bar_o.addcmul_(couple, mirrored[0]).addcmul_(view_bar, rdd)
    source_bar = light.mul_(transfer)
    source_bar_s, source_bar_o = source_bar.unbind(0)
    source_bar_s.addcmul_(couple, up[1])
    # The derivatives by up and by mirrored come with the other sign: they are losses.
    lift = loss * gap
    lift_s, lift_o = lift.unbind(0)
    lift_o.addcmul_(couple, source_s, value=-1.0).sub_(view_bar)
    sunk = loss.mul_(transfer)
    sunk_s, sunk_o = sunk.unbind(0)
    sunk_s.addcmul_(couple, down_o, value=-1.0)
    # What beams are made of.
    k_bar = level.mul_(bend[:2]).addcmul_(transfer, half, value=-1.0).mul_(lai)
    k_bar = k_bar.mul_(transfer_bar)  # the derivative of the transfer by k, times that by it
    k_bar_s, k_bar_o = k_bar.unbind(0)
    whole = (transfer_s * transfer_bar_s).addcmul_(transfer[1], transfer_bar_o)
    m_bar = (fade_s + fade_o).add_(k_bar_s).add_(k_bar_o).addcmul_(whole, lai).neg_()
    k_bar = k_bar.sub_(fade).addcmul_(source_bar, x1).addcmul_(sunk, x3, value=-1.0)
    bright = down_bar - lift
    k_bar = k_bar.addcmul_(bright, ht)
    e_bar = lift.add_(down_bar)
    e_bar = (lift_s + lift_o).neg_()
    ht_bar = bright.mul_(beams)
    ht_bar = ht_bar[0] + ht_bar[1]
    y1_bar, y4_bar = source_bar_s + source_bar_o, sunk_s + sunk_o
    source_bar.mul_(beams), sunk.mul_(beams)
    x1_bar, x3_bar = source_bar_s.add_(source_bar_o), sunk_s.add_(sunk_o)
    ht_bar.addcmul_(x1_bar, p1).addcmul_(x3_bar, p3, value=-1.0)
    e_bar.addcmul_(y1_bar, p2, value=-1.0).addcmul_(y4_bar, p4, value=-1.0)
    tilt_bar = uncommon * per_s
    ht_bar.addcmul_(tilt_bar, e, value=-2.0)
    e_bar.addcmul_(tilt_bar, ht, value=-2.0)
    x1_bar, x3_bar, y1_bar, y4_bar = (
        x1_bar.mul_(ht),
        x3_bar.mul_(ht),
        y1_bar.mul_(e),
        y4_bar.mul_(e),
    )
    m_bar.add_(x1_bar).add_(x3_bar).sub_(y1_bar).add_(y4_bar)
    other_bar, absorbed_bar = x1_bar.sub_(x3_bar), y1_bar.add_(y4_bar).neg_()
    # What diffuse light is made of.
    faded = tdd_bar.mul_(tdd)
    lost = torch.addcmul(faded, rdd_bar, rdd)
    h_bar = (rdd_bar * sigb).addcmul_(lost, att, value=-1.0).mul_(q)
    att_bar = lost.mul_(hq)
    sigb_bar = rdd_bar.mul_(hq).sub_(att_bar)
    path_bar = faded.addcmul_(h_bar, h).mul_(turn).neg_()
    path_bar.addcmul_(spread_bend.mul_(h_bar), lai, value=4.0)
    m_bar.addcmul_(path_bar, lai)
    lai_bar = path_bar.sub_(whole).mul_(m).addcmul_(h_bar, spread, value=2.0)
    half_m = m_bar.mul_(half).div_(m)
    absorbed_bar.sub_(att_bar).addcmul_(half_m, other)
    other_bar.addcmul_(half_m, absorbed)
    ht_bar = ht_bar.add_(sigb_bar).mul_(half).sub_(absorbed_bar)
    e_bar = e_bar.add_(sigb_bar).mul_(half).add_(other_bar)
    bf_bar = average(uneven.mul_(e_bar))
    e_bar = e_bar.mul_(bf)
    rho_bar = (ht_bar + e_bar).add_(sob * depth)
    tau_bar = ht_bar.sub_(e_bar).add_(sof * depth)
    # What a canopy has one value of: factors of its own apply to the averages.
    of_rho, of_tau, of_soil = average(rho), average(tau), average(rsoil.expand_as(rho))
    single = sob * of_rho + sof * of_tau
    by_contrast = average(tilt.mul_(per_s))
    by_both = torch.addcmul(average(parted_bar), by_contrast, contrast, value=-2.0)
    drain = by_both * inverse_sum
    swap, fixed = by_contrast * both, drain * both
    ground = of_soil + drain
    drop_s = (average(gap_bar_s) - ground * gap_o) * gap_s
    drop_o = (average(gap_bar_o) - ground * gap_s) * gap_o
    by_lai = torch.addcmul(average(lai_bar), single, sumint)
    by_lai = by_lai + average(transfer_bar_s) * gap_s + average(transfer_bar_o) * gap_o
    by_lai = by_lai - drop_s * ks - drop_o * ko
    by_ks = torch.addcmul(average(k_bar_s) - fixed, drop_s, lai, value=-1.0)
    by_ko = torch.addcmul(average(k_bar_o) - fixed, drop_o, lai, value=-1.0)
    return (
        rho_bar,
        tau_bar,
        {
            "rsoil": rsoil_bar,
            "lai": by_lai,
            "ks": torch.sub(by_ks, swap, alpha=2.0),
            "ko": torch.add(by_ko, swap, alpha=2.0),
            "bf": bf_bar,
            "sob": depth * of_rho,
            "sof": depth * of_tau,
            "tsstoo": of_soil,
            "sumint": lai * single,
        },
    )
