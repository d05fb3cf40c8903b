"""What the sensors add: noise of optical reflectance and of radar backscatter.

Each noise model comes as a spread or a log-likelihood and as a sampler that draws from it. Radar
backscatter is linear power inside; decibels appear in the channel of the solve and at the border.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ._arguments import Numeric, tensors

DB_PER_NEPER = 10 / math.log(10)
"""Decibels per unit of natural logarithm of power: 4.343; its square is 18.86. [dB]"""

SENTINEL1_LOOKS = 4.4
"""Equivalent number of looks of Sentinel-1 IW GRDH at 10 m. [1]"""

SENTINEL1_NESZ = 10**-2.2
"""Noise-equivalent sigma0 that Sentinel-1 IW is specified not to exceed: -22 dB. [1]"""

CALIBRATION_SD_DB = 0.33
"""Radiometric accuracy of Sentinel-1, specified as 1 dB at three standard deviations. [dB]"""

MODEL_SD_DB = 0.4
"""What a radar model misses anew at every acquisition. [dB]"""

STUDENT_T_NU = 4.0
"""Degrees of freedom of the heavy-tailed noise. [1]"""

_INDEPENDENT_SD_DB = math.hypot(CALIBRATION_SD_DB, MODEL_SD_DB)


def _of_one_shape(*values: Numeric) -> list[Tensor]:
    """Tensors of the arguments, all of the broadcast shape and contiguous."""
    converted = tensors(*values)
    zero = sum(torch.zeros_like(value) for value in converted)
    return [value + zero for value in converted]


def _standard_normal(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw normal numbers of the shape, dtype and device of a tensor."""
    return torch.randn(like.shape, dtype=like.dtype, device=like.device, generator=generator)


def to_db(linear: Numeric) -> Float[Tensor, "*batch"]:
    """Decibels of linear power.

    Parameters
    ----------
    linear : Tensor or float, shape (...)
        Power, above 0. [1]

    Returns
    -------
    Tensor, shape (...)
        10 log10 of it: minus infinity at 0 and NaN below, where noise was subtracted. [dB]
    """
    (linear,) = tensors(linear)
    return 10 * linear.log10()


def to_linear(db: Numeric) -> Float[Tensor, "*batch"]:
    """Linear power of decibels.

    Parameters
    ----------
    db : Tensor or float, shape (...)
        Power in decibels, any value. [dB]

    Returns
    -------
    Tensor, shape (...)
        10^(db / 10), above 0. [1]
    """
    (db,) = tensors(db)
    return torch.exp(db / DB_PER_NEPER)


def gamma0_to_sigma0(gamma0: Numeric, incidence_angle: Numeric) -> Float[Tensor, "*batch"]:
    """Backscattering coefficient per ground area from the one per area across the beam.

    Parameters
    ----------
    gamma0 : Tensor or float, shape (...)
        Backscattering coefficient gamma0, linear power. [1]
    incidence_angle : Tensor or float, shape (...)
        Angle of incidence, 0 to below 90. [degree]

    Returns
    -------
    Tensor, shape (...)
        sigma0 = gamma0 cos(theta), linear power. [1]
    """
    gamma0, incidence_angle = tensors(gamma0, incidence_angle)
    return gamma0 * torch.deg2rad(incidence_angle).cos()


def sigma0_to_gamma0(sigma0: Numeric, incidence_angle: Numeric) -> Float[Tensor, "*batch"]:
    """Backscattering coefficient per area across the beam from the one per ground area.

    Parameters
    ----------
    sigma0 : Tensor or float, shape (...)
        Backscattering coefficient sigma0, linear power. [1]
    incidence_angle : Tensor or float, shape (...)
        Angle of incidence, 0 to below 90. [degree]

    Returns
    -------
    Tensor, shape (...)
        gamma0 = sigma0 / cos(theta), linear power: the inverse of :func:`gamma0_to_sigma0`. [1]
    """
    sigma0, incidence_angle = tensors(sigma0, incidence_angle)
    return sigma0 / torch.deg2rad(incidence_angle).cos()


def speckle_bias_db(looks: Numeric) -> Float[Tensor, "*batch"]:
    """How far the mean of log speckle lies from the log of its mean.

    Parameters
    ----------
    looks : Tensor or float, shape (...)
        Equivalent number of looks L, above 0, not necessarily whole. [1]

    Returns
    -------
    Tensor, shape (...)
        4.343 (psi(L) - ln L), below 0: -0.51 at 4.4 looks. [dB]

    Notes
    -----
    Speckle of L looks multiplies power by a Gamma variable of shape L and mean 1 [1]_; psi is the
    digamma function.

    References
    ----------
    .. [1] Ulaby, F. T., Long, D. G., 2014, Microwave Radar and Radiometric Remote Sensing,
       University of Michigan Press.
    """
    (looks,) = tensors(looks)
    return DB_PER_NEPER * (torch.digamma(looks) - looks.log())


def speckle_sd_db(looks: Numeric) -> Float[Tensor, "*batch"]:
    """Spread of speckle in decibels.

    Parameters
    ----------
    looks : Tensor or float, shape (...)
        Equivalent number of looks L, above 0, not necessarily whole. [1]

    Returns
    -------
    Tensor, shape (...)
        Standard deviation 4.343 sqrt(psi'(L)), above 0: 2.19 at 4.4 looks. [dB]
    """
    (looks,) = tensors(looks)
    return DB_PER_NEPER * torch.polygamma(1, looks).sqrt()


def radar_channel_db(sigma0: Numeric, looks: Numeric) -> Float[Tensor, "*batch"]:
    """Measured backscatter as the channel that the solve compares with the model's decibels.

    Parameters
    ----------
    sigma0 : Tensor or float, shape (...)
        Measured sigma0, linear power, above 0. [1]
    looks : Tensor or float, shape (...)
        Equivalent number of looks, above 0. [1]

    Returns
    -------
    Tensor, shape (...)
        z = 10 log10 sigma0 - bias of the speckle: without bias where noise is low. [dB]

    See Also
    --------
    radar_channel_variance : the variance of z.
    """
    sigma0, looks = tensors(sigma0, looks)
    return to_db(sigma0) - speckle_bias_db(looks)


def radar_channel_variance(
    sigma0: Numeric, looks: Numeric, nesz: Numeric = SENTINEL1_NESZ
) -> Float[Tensor, "*batch"]:
    """Variance of the radar channel that is new at every acquisition.

    Parameters
    ----------
    sigma0 : Tensor or float, shape (...)
        sigma0 that is expected (the model's, not the measured one), linear power, above 0. [1]
    looks : Tensor or float, shape (...)
        Equivalent number of looks L, above 0. [1]
    nesz : Tensor or float, shape (...), optional
        Noise-equivalent sigma0, linear power, from 0. [1]

    Returns
    -------
    Tensor, shape (...)
        18.86 psi'(L) (1 + NESZ / sigma0)^2 + 0.33^2 + 0.4^2: speckle on signal and noise after the
        noise was subtracted, calibration, model. [dB²]

    Notes
    -----
    First order in the speckle: where NESZ / sigma0 nears 1 at few looks the true distribution is
    skewed and reaches 0 (see :func:`speckle_log_likelihood`).
    """
    sigma0, looks, nesz = tensors(sigma0, looks, nesz)
    speckle = speckle_sd_db(looks) * (1 + nesz / sigma0)
    return speckle**2 + _INDEPENDENT_SD_DB**2


def speckle_log_likelihood(
    measured: Numeric, sigma0: Numeric, looks: Numeric, nesz: Numeric = SENTINEL1_NESZ
) -> Float[Tensor, "*batch"]:
    """Exact log density of noise-subtracted backscatter under speckle alone.

    Parameters
    ----------
    measured : Tensor or float, shape (...)
        Measured sigma0 after noise subtraction, linear power, above -NESZ. [1]
    sigma0 : Tensor or float, shape (...)
        True sigma0, linear power, from 0. [1]
    looks : Tensor or float, shape (...)
        Equivalent number of looks L, above 0. [1]
    nesz : Tensor or float, shape (...), optional
        Noise-equivalent sigma0, linear power, from 0. [1]

    Returns
    -------
    Tensor, shape (...)
        Log density per unit of linear power. [1]

    Notes
    -----
    ``measured + nesz`` is Gamma distributed with shape L and mean ``sigma0 + nesz``: what
    :func:`sample_backscatter` draws with ``independent_sd_db=0``.
    """
    measured, sigma0, looks, nesz = tensors(measured, sigma0, looks, nesz)
    power, rate = measured + nesz, looks / (sigma0 + nesz)
    return looks * rate.log() + (looks - 1) * power.log() - rate * power - torch.lgamma(looks)


def sample_backscatter(
    sigma0: Numeric,
    looks: Numeric,
    nesz: Numeric = SENTINEL1_NESZ,
    *,
    independent_sd_db: Numeric = _INDEPENDENT_SD_DB,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "*batch"]:
    """Draw measured backscatter: speckle on signal and noise, noise subtracted, gain error.

    Parameters
    ----------
    sigma0 : Tensor or float, shape (...)
        True sigma0, linear power, from 0. [1]
    looks : Tensor or float, shape (...)
        Equivalent number of looks L, above 0. [1]
    nesz : Tensor or float, shape (...), optional
        Noise-equivalent sigma0, linear power, from 0. [1]
    independent_sd_db : Tensor or float, shape (...), optional
        Spread of the gain error drawn per value; the default is calibration and model error of
        :func:`radar_channel_variance`, 0 leaves speckle alone. [dB]
    generator : torch.Generator, optional
        Source of randomness, on the device of the arguments.

    Returns
    -------
    Tensor, shape (...)
        Measured sigma0, linear power; not above 0 everywhere where the noise is not small. [1]
    """
    power, shape, noise, spread = _of_one_shape(sigma0, looks, nesz, independent_sd_db)
    speckle = torch._standard_gamma(shape, generator=generator) / shape
    gain_db = spread * _standard_normal(spread, generator)
    return ((power + noise) * speckle - noise) * to_linear(gain_db)


def optical_noise_sd(reflectance: Numeric) -> Float[Tensor, "*batch"]:
    """Scale of the noise of Sentinel-2 surface reflectance that is new at every date.

    Parameters
    ----------
    reflectance : Tensor or float, shape (...)
        Surface reflectance that is expected, from 0. [1]

    Returns
    -------
    Tensor, shape (...)
        0.005 + 0.03 R, the scale of a Student-t of 4 degrees of freedom. [1]
    """
    (reflectance,) = tensors(reflectance)
    return 0.005 + 0.03 * reflectance


def student_t_weight(
    residual: Numeric, sd: Numeric, nu: Numeric = STUDENT_T_NU
) -> Float[Tensor, "*batch"]:
    """Weight of a residual's inverse variance that makes a Gaussian solve a Student-t one.

    Parameters
    ----------
    residual : Tensor or float, shape (...)
        Observed minus predicted. [unit of the observation]
    sd : Tensor or float, shape (...)
        Scale of the distribution (the spread of its core), above 0. [unit of the observation]
    nu : Tensor or float, shape (...), optional
        Degrees of freedom, above 0; infinity gives the normal distribution. [1]

    Returns
    -------
    Tensor, shape (...)
        (nu + 1) / (nu + (residual / sd)^2), above 0, at most (nu + 1) / nu. [1]

    Notes
    -----
    The gradient of the log-likelihood is -weight residual / sd^2: reweighted least squares [1]_.

    References
    ----------
    .. [1] Lange, K. L., Little, R. J. A., Taylor, J. M. G., 1989, Robust statistical modeling using
       the t distribution, Journal of the American Statistical Association 84(408), 881-896,
       doi:10.1080/01621459.1989.10478852.
    """
    residual, sd, nu = tensors(residual, sd, nu)
    return (1 + 1 / nu) / (1 + (residual / sd) ** 2 / nu)


def student_t_log_likelihood(
    residual: Numeric, sd: Numeric, nu: Numeric = STUDENT_T_NU
) -> Float[Tensor, "*batch"]:
    """Log density of a residual under a Student-t distribution.

    Parameters
    ----------
    residual : Tensor or float, shape (...)
        Observed minus predicted. [unit of the observation]
    sd : Tensor or float, shape (...)
        Scale of the distribution, above 0; the standard deviation is sd sqrt(nu / (nu - 2)).
        [unit of the observation]
    nu : Tensor or float, shape (...), optional
        Degrees of freedom, above 0; infinity gives the normal distribution. [1]

    Returns
    -------
    Tensor, shape (...)
        Log density. [1]
    """
    residual, sd, nu = tensors(residual, sd, nu)
    square = (residual / sd) ** 2
    normal = torch.isinf(nu)
    finite = torch.where(normal, torch.ones_like(nu), nu)
    exponent = torch.where(normal, square / 2, (finite + 1) / 2 * torch.log1p(square / finite))
    return _student_t_constant(nu).to(square) - sd.log() - exponent


_MANY_DEGREES = 1e4


def _student_t_constant(nu: Tensor) -> Tensor:
    """Logarithm of the constant of Student's t; in double, for its terms nearly cancel."""
    nu = nu.double()
    many = nu > _MANY_DEGREES
    few = torch.where(many, torch.ones_like(nu), nu)
    exact = torch.lgamma((few + 1) / 2) - torch.lgamma(few / 2) - 0.5 * (math.pi * few).log()
    # Of the logarithms of the gamma functions by Stirling's series; the next term is nu^-3 / 24.
    return torch.where(many, -0.5 * math.log(2 * math.pi) - 0.25 / nu, exact)


def radar_log_likelihood(
    measured: Numeric,
    sigma0: Numeric,
    looks: Numeric,
    nesz: Numeric = SENTINEL1_NESZ,
    nu: Numeric = STUDENT_T_NU,
) -> Float[Tensor, "*batch"]:
    """Log density of the radar channel as the solve sees it: Student-t in decibels.

    Parameters
    ----------
    measured : Tensor or float, shape (...)
        Measured sigma0, linear power, above 0. [1]
    sigma0 : Tensor or float, shape (...)
        Expected sigma0, linear power, above 0. [1]
    looks : Tensor or float, shape (...)
        Equivalent number of looks, above 0. [1]
    nesz : Tensor or float, shape (...), optional
        Noise-equivalent sigma0, linear power, from 0. [1]
    nu : Tensor or float, shape (...), optional
        Degrees of freedom, above 0; infinity gives the normal distribution. [1]

    Returns
    -------
    Tensor, shape (...)
        Log density per decibel. [1]
    """
    measured, sigma0, looks, nesz, nu = tensors(measured, sigma0, looks, nesz, nu)
    residual = radar_channel_db(measured, looks) - to_db(sigma0)
    return student_t_log_likelihood(
        residual, radar_channel_variance(sigma0, looks, nesz).sqrt(), nu
    )


def sample_reflectance(
    reflectance: Numeric,
    sd: Numeric | None = None,
    nu: Numeric = STUDENT_T_NU,
    *,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "*batch"]:
    """Draw measured reflectance: truth plus Student-t noise.

    Parameters
    ----------
    reflectance : Tensor or float, shape (...)
        True surface reflectance, from 0. [1]
    sd : Tensor or float, shape (...), optional
        Scale of the noise; :func:`optical_noise_sd` of the truth where not given. [1]
    nu : Tensor or float, shape (...), optional
        Degrees of freedom, above 0; infinity gives the normal distribution. [1]
    generator : torch.Generator, optional
        Source of randomness, on the device of the arguments.

    Returns
    -------
    Tensor, shape (...)
        Measured reflectance; single values may lie outside 0 to 1. [1]
    """
    scale = optical_noise_sd(reflectance) if sd is None else sd
    truth, scale, freedom = _of_one_shape(reflectance, scale, nu)
    half = torch.where(torch.isinf(freedom), torch.ones_like(freedom), freedom) / 2
    mean_square = torch._standard_gamma(half, generator=generator) / half
    mean_square = torch.where(torch.isinf(freedom), torch.ones_like(half), mean_square)
    return truth + scale * _standard_normal(truth, generator) / mean_square.sqrt()
