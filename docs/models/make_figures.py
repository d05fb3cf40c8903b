"""Figures of the pages about the forward models, drawn from the models themselves.

Every file ``figures/<family>.py`` has a table ``FIGURES`` of functions, by the name of a picture.
Run from the root of the repository; without a family all are drawn::

    python docs/models/make_figures.py [family ...]
"""

from __future__ import annotations

import argparse
import runpy
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "figures"


def main() -> None:
    """Draw the figures of the families named."""
    families = sorted(path.stem for path in FOLDER.glob("*.py"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("family", nargs="*", help=f"of {', '.join(families)}; default all")
    for family in parser.parse_args().family or families:
        for name, draw in runpy.run_path(str(FOLDER / f"{family}.py"))["FIGURES"].items():
            # Without the date and version of the program, the same figure is the same file.
            draw().savefig(FOLDER / f"{name}.png", dpi=110, metadata={"Software": None})
            print(f"docs/models/figures/{name}.png")


if __name__ == "__main__":
    main()
