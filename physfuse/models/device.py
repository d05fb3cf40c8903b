"""Where a network is put: a device that is there, or an error that says what is."""

from __future__ import annotations

import torch

from physfuse.radiative.errors import DomainError


def checked_device(device: str | torch.device) -> torch.device:
    """Device of a name, if this machine has it.

    Parameters
    ----------
    device : str or torch.device
        "cpu", "cuda", "cuda:1", "mps", ...

    Returns
    -------
    torch.device

    Raises
    ------
    DomainError
        No device of torch's, or one that this machine or this build of torch does not have.
    """
    try:
        asked = torch.device(device)
    except RuntimeError as error:
        raise DomainError(
            f"{device!r} is no device of torch; allowed: cpu, cuda, cuda:0"
        ) from error
    if asked.type == "cpu":
        return asked
    kinds = {"cuda": torch.cuda, "xpu": torch.xpu, "mps": torch.mps}
    kind = kinds.get(asked.type)
    if kind is None:
        raise DomainError(
            f"networks are put on one of cpu, {', '.join(kinds)}, and this is {str(asked)!r}"
        )
    count = kind.device_count() if _is_available(asked.type) else 0
    there = (asked.index or 0) < count
    seen = f"torch {torch.__version__} sees {count or 'no'} GPU{'s' if count > 1 else ''}"
    if not there:
        raise DomainError(
            f"the device {str(asked)!r} is not there: {seen}; take device='cpu', or install a "
            "build of torch for it"
        )
    return asked


def _is_available(kind: str) -> bool:
    if kind == "mps":
        return torch.backends.mps.is_available()
    return bool(torch.cuda.is_available() if kind == "cuda" else torch.xpu.is_available())
