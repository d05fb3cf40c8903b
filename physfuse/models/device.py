"""Where a network is put: a device that is there, or an error that says what is."""

from __future__ import annotations

import torch

from physfuse.radiative.errors import DomainError

_HERE = ("cpu", "meta")


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
    if asked.type in _HERE:
        return asked
    if asked.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        there = (asked.index or 0) < count
        seen = f"torch {torch.__version__} sees {count or 'no'} GPU{'s' if count > 1 else ''}"
    else:
        backend = getattr(torch.backends, asked.type, None)
        there = backend is not None and bool(backend.is_available())
        seen = f"torch {torch.__version__} has none of this kind"
    if not there:
        raise DomainError(
            f"the device {str(asked)!r} is not there: {seen}; take device='cpu', or install a "
            "build of torch for it"
        )
    return asked
