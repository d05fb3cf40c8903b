"""Progress bars: nothing for what is quick, one line for what is not."""

from __future__ import annotations

import sys

from tqdm import tqdm

DELAY = 2.0
"""How long work goes on before a bar is shown. [s]"""


def progress_bar(
    total: int | None, what: str, *, unit: str = "pixel", quiet: bool = False
) -> tqdm[None]:
    """Bar for work that may take more than two seconds.

    Parameters
    ----------
    total : int or None
        Number of units to come, None where unknown.
    what : str
        What is being done, shown before the bar.
    unit : str, optional
        Name of a unit.
    quiet : bool, optional
        Show nothing. Where standard error is no terminal nothing is shown either.

    Returns
    -------
    tqdm
        A context manager with ``update(n)``.

    Examples
    --------
    >>> with progress_bar(10, "counting", quiet=True) as bar:
    ...     _ = bar.update(10)
    """
    return tqdm(
        total=total,
        desc=what,
        unit=f" {unit}",
        delay=DELAY,
        mininterval=0.2,
        leave=False,
        file=sys.stderr,
        disable=True if quiet else None,
    )
