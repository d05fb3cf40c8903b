"""Laws of light in leaves, canopies and soil."""

from __future__ import annotations

import torch
from torch import Tensor

from .judgement import (
    ROUNDING,
    need_argument,
    needed,
    require,
    require_equal,
    require_monotone,
    with_values,
)
from .model import ForwardModel, Points

_OPAQUE = ("cm", "cw", "prot", "cbc")
_CONTENTS = ("cab", "car", "ant", "cbrown", "cw", "cm", "prot", "cbc")


def _at(model: ForwardModel, *wavelengths_nm: int) -> list[str]:
    """Outputs at some wavelengths."""
    ends = tuple(f"_{wavelength}" for wavelength in wavelengths_nm)
    at = " or ".join(map(str, wavelengths_nm))
    needs = f"an output at {at} nm, named like 'reflectance{ends[0]}'"
    return needed(model, (name for name in model.outputs if name.endswith(ends)), needs)


def _sent_out(model: ForwardModel, values: Tensor) -> Tensor:
    """Reflectance and transmittance together, at every wavelength that has both."""
    pairs = ((n, n.replace("reflectance", "transmittance", 1)) for n in model.outputs)
    both = [(r, t) for r, t in pairs if r != t and t in model.outputs]
    needs = "both at one wavelength, named like 'reflectance_670' and 'transmittance_670'"
    needed(model, (r for r, _ in both), needs)
    return torch.stack([model.column(values, r) + model.column(values, t) for r, t in both], -1)


def leaf_sends_out_at_most_what_it_receives(model: ForwardModel, points: Points) -> None:
    """Reflectance and transmittance of a leaf together do not exceed one."""
    values = model(points)
    together = _sent_out(model, values)
    require(together <= 1 + ROUNDING, model, points, "has r + t at most 1", together)


def empty_leaf_absorbs_nothing(model: ForwardModel, points: Points) -> None:
    """Without pigments, water and matter a leaf reflects or transmits all light."""
    values = model(with_values(points, **dict.fromkeys(_CONTENTS, 0.0)))
    together = _sent_out(model, values)
    # The square root that vanishes without absorption is kept off zero: 1e-7 of light.
    lossless = (together - 1).abs() <= 1e-6
    require(lossless, model, points, "has r + t = 1 without absorption", together)


def more_chlorophyll_darkens_red(model: ForwardModel, points: Points) -> None:
    """What leaf or canopy send out at 670 nm falls with chlorophyll."""
    require_monotone(
        *(model, points, "cab", _at(model, 670)), rises=False, what="is darker in red with more cab"
    )


def more_water_darkens_shortwave_infrared(model: ForwardModel, points: Points) -> None:
    """What leaf or canopy send out at 1650 and 2200 nm falls with leaf water."""
    require_monotone(
        *(model, points, "cw", _at(model, 1650, 2200)),
        rises=False,
        what="is darker at 1650 and 2200 nm with more cw",
    )


def more_matter_darkens_everything(model: ForwardModel, points: Points) -> None:
    """Dry matter absorbs beyond the visible: what is sent out falls with it, or with its parts."""
    wavelengths = {"cm": (800, 1650, 2200), "prot": (1650, 2200), "cbc": (800, 1650, 2200)}
    need_argument(model, *wavelengths)
    for name in wavelengths.keys() & model.domain.keys():
        require_monotone(
            *(model, points, name, _at(model, *wavelengths[name])),
            rises=False,
            what=f"is darker with more {name}",
        )


def transmissivity_falls_with_absorption(model: ForwardModel, points: Points) -> None:
    """A layer passes everything without absorption and less with more of it."""
    clear = model(with_values(points, k=0.0))
    require(clear == 1, model, points, "passes all without absorption", clear)
    require_monotone(*(model, points, "k", model.outputs), rises=False, what="falls with k")


def fractions_sum_to_one(model: ForwardModel, points: Points) -> None:
    """Parts of a whole add to it."""
    total = model(points).sum(-1)
    require((total - 1).abs() <= ROUNDING, model, points, "sums to one", total)


def steeper_leaves_block_less_from_above(model: ForwardModel, points: Points) -> None:
    """Seen from nadir the extinction of a canopy falls with the mean leaf angle."""
    needed(model, (name for name in model.outputs if name == "ko"), "the output 'ko'")

    def from_above(**arguments: Tensor) -> Tensor:
        return model(arguments)[..., [model.outputs.index("ko")]]

    nadir = ForwardModel(model.name, from_above, model.domain, ("ko",), model.kind, ())
    require_monotone(
        *(nadir, with_values(points, tto=0.0), "ala", ("ko",)),
        rises=False,
        what="has less extinction towards nadir with steeper leaves",
    )


def opposite_azimuths_are_the_same(model: ForwardModel, points: Points) -> None:
    """A canopy that prefers no azimuth looks the same from both sides of the sun's plane."""
    for mirrored in (-points["psi"], 360.0 - points["psi"]):
        got = model(with_values(points, psi=mirrored))
        # The angle itself is rounded when it is folded: 1e-10 where slopes are steep.
        require_equal(got, model(points), model, points, "is even in azimuth", 1e-9)


def sun_and_sensor_change_places(model: ForwardModel, points: Points) -> None:
    """Helmholtz reciprocity: bidirectional outputs stay, those of one direction change places.

    Outputs named ``ks`` and ``ko``, ``tss`` and ``too``, ``rsd`` and ``rdo``, ``tsd`` and ``tdo``,
    ``rsdt`` and ``rdot`` change places; those of diffuse light and those that have no partner
    stay.
    """
    partner = {"ks": "ko", "tss": "too", "rsd": "rdo", "tsd": "tdo", "rsdt": "rdot"}
    partner |= {second: first for first, second in partner.items()}
    known = [name for name in model.outputs if name != "alfas"]
    for name in needed(model, known, "outputs besides 'alfas'"):
        other = partner.get(name, name)
        needed(model, {other} & set(model.outputs), f"{other!r}, the partner of {name!r}")
    two_way = [model.outputs.index(name) for name in known]
    back = [model.outputs.index(partner.get(model.outputs[i], model.outputs[i])) for i in two_way]
    there = model(points)
    swapped = with_values(points, tts=points["tto"], tto=points["tts"])
    close = (model(swapped)[..., back] - there[..., two_way]).abs() <= 1e-10 * (1 + there.abs())[
        ..., two_way
    ]
    require(close, model, points, "is reciprocal", there, model(swapped))


def no_leaves_gives_the_soil(model: ForwardModel, points: Points) -> None:
    """Without leaves every direction sees the soil."""
    bare = with_values(points, lai=0.0)
    got = model(bare)
    seen = [model.outputs.index(name) for name in _of_canopy_and_soil(model)]
    soil = points["rsoil"][..., None].expand_as(got[..., seen])
    close = (got[..., seen] - soil).abs() <= ROUNDING
    require(close, model, bare, "is the soil without leaves", got[..., seen], soil)


def _of_canopy_and_soil(model: ForwardModel) -> list[str]:
    """Outputs that tell the reflectance of canopy and soil together."""
    names = {"rddt", "rsdt", "rdot", "rsot"}
    found = (name for name in model.outputs if name in names or name.startswith("reflect"))
    return needed(model, found, "an output rddt, rsdt, rdot, rsot or named like 'reflectance_670'")


def _absorptances(model: ForwardModel) -> list[str]:
    """Outputs that tell what leaves absorb."""
    found = (n for n in model.outputs if n in {"alfas", "alfad"} or n.startswith("absorbed"))
    return needed(model, found, "an output alfas, alfad or named like 'absorbed_direct'")


def no_leaves_block_nothing(model: ForwardModel, points: Points) -> None:
    """Without leaves gaps are everything and leaves neither reflect nor absorb."""
    got = model(with_values(points, lai=0.0))
    one = {"tdd", "tss", "too", "tsstoo", "sumint", "downward_direct", "downward_diffuse"}
    zero = {"rdd", "rsd", "tsd", "rdo", "tdo", "rso", "rsos", "rsod", "fcover"}
    zero |= {n for n in model.outputs if n in {"alfas", "alfad"} or n.startswith("absorbed")}
    known = (name for name in model.outputs if name in one | zero)
    for name in needed(model, known, f"one of the outputs {', '.join(sorted(one | zero))}"):
        seen = model.column(got, name)
        exact = (seen - float(name in one)).abs() <= ROUNDING
        require(exact, model, points, f"has {name} of an empty layer", seen)


def black_canopy_over_black_soil_is_black(model: ForwardModel, points: Points) -> None:
    """Where nothing scatters, nothing comes back."""
    got = model(with_values(points, rho=0.0, tau=0.0, rsoil=0.0))
    names = (name for name in model.outputs if name.startswith("r"))
    back = [model.outputs.index(n) for n in needed(model, names, "a reflectance, named with r")]
    require(got[..., back].abs() <= ROUNDING, model, points, "is black", got[..., back])


def opaque_canopy_hides_the_soil(model: ForwardModel, points: Points) -> None:
    """Under very many leaves that absorb a little, the soil no longer counts."""
    for argument in ("lai", "rsoil"):
        need_argument(model, argument)
    dense = with_values(points, lai=1000.0)
    dense |= {name: dense[name].clamp(max=0.45) for name in ("rho", "tau") if name in dense}
    dense |= {name: dense[name].clamp(min=0.005) for name in _OPAQUE if name in dense}
    dark, bright = (model(with_values(dense, rsoil=rsoil)) for rsoil in (0.0, 0.9))
    hidden = (bright - dark).abs() <= 1e-9
    require(hidden, model, dense, "hides the soil under 1000 layers", dark, bright)


def brighter_soil_never_darkens_the_canopy(model: ForwardModel, points: Points) -> None:
    """Reflectance of canopy and soil rises with that of the soil."""
    require_monotone(
        *(model, points, "rsoil", _of_canopy_and_soil(model)),
        rises=True,
        what="does not darken over a brighter soil",
    )


def brighter_leaves_absorb_less(model: ForwardModel, points: Points) -> None:
    """Absorptance of the canopy falls with the reflectance of its leaves."""
    require_monotone(
        *(model, points, "rho", _absorptances(model)),
        rises=False,
        what="absorbs less with brighter leaves",
    )


def energy_closes(model: ForwardModel, points: Points) -> None:
    """Absorbed + reflected + downward (1 - soil albedo) = 1, for direct and diffuse light."""
    values = model(points)
    for light in ("direct", "diffuse"):
        absorbed, reflected, downward = (
            model.column(values, f"{what}_{light}")
            for what in ("absorbed", "reflected", "downward")
        )
        total = absorbed + reflected + downward * (1 - points["rsoil"])
        closes = (total - 1).abs() <= 1e-10
        require(closes, model, points, f"closes the energy of {light} light", total)


def absorbed_share_lies_between_none_and_all(model: ForwardModel, points: Points) -> None:
    """Leaves absorb no more light than there is, and no less than none."""
    absorbed = model(points)[..., [model.outputs.index(n) for n in _absorptances(model)]]
    inside = (absorbed >= -ROUNDING) & (absorbed <= 1 + ROUNDING)
    require(inside, model, points, "absorbs between 0 and 1", absorbed)


def leaves_that_absorb_nothing_lose_no_light(model: ForwardModel, points: Points) -> None:
    """With rho + tau = 1 a canopy absorbs nothing, however deep."""
    white = with_values(points, tau=1 - points["rho"])
    values = model(white)
    for name in _absorptances(model):
        absorbed = model.column(values, name)
        # The eigenvalue is kept off zero by rounding of the working precision: 1e-6 of light.
        lossless = absorbed.abs() <= 1e-6
        require(lossless, model, white, f"has no {name} with rho + tau = 1", absorbed)


def light_meets_more_leaves_with_more_of_them(model: ForwardModel, points: Points) -> None:
    """Intercepted and absorbed light of a canopy over black soil rise with leaf area."""
    over_black = with_values(points, rsoil=0.0)
    rising = ["fcover"] if "fcover" in model.outputs else _absorptances(model)
    require_monotone(*(model, over_black, "lai", rising), rises=True, what="rises with lai")


def gap_lies_between_its_bounds(model: ForwardModel, points: Points) -> None:
    """Seen and lit together: at least by chance, at most with leaves in full line."""
    gap = model.column(model(points), "tsstoo")
    lai, ks, ko = (points[name] for name in ("lai", "ks", "ko"))
    low = torch.exp(-(ks + ko) * lai)
    high = torch.exp(-(ks + ko - torch.sqrt(ks * ko)) * lai)
    inside = (gap >= low * (1 - 1e-9)) & (gap <= high * (1 + 1e-9))
    require(inside, model, points, "lies between its bounds", gap, low, high)


def wetter_soil_is_darker(model: ForwardModel, points: Points) -> None:
    """Reflectance of bare soil falls with its moisture at every wavelength."""
    require_monotone(
        *(model, points, "soil_moisture", model.outputs), rises=False, what="is darker when wetter"
    )


def brightness_brightens_the_soil(model: ForwardModel, points: Points) -> None:
    """Reflectance of bare soil rises with its brightness factor at every wavelength."""
    require_monotone(
        *(model, points, "soil_brightness", model.outputs), rises=True, what="rises with brightness"
    )


def constant_spectrum_keeps_its_value(model: ForwardModel, points: Points) -> None:
    """The average of a constant over any band is that constant."""
    got = model(with_values(points, tilt=0.0))
    constant = points["reflectance"][..., None].expand_as(got)
    require_equal(got, constant, model, points, "keeps a constant spectrum", ROUNDING)


def average_lies_within_the_spectrum(model: ForwardModel, points: Points) -> None:
    """No band value leaves the range of a spectrum that rises from (1 - tilt) to (1 + tilt)."""
    got = model(points)
    level, tilt = points["reflectance"][..., None], points["tilt"].abs()[..., None]
    inside = (got - level).abs() <= level * tilt + ROUNDING
    require(inside, model, points, "lies within the spectrum", got)
