"""Time and memory of `physfuse retrieve` on the Belgian cube: five variables with their spread.

100 x 100 pixels of both sensors, a year of days, on two threads; measured is a process of its own,
from the start of Python to the closed file. The targets are 120 s and 3 GB.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.science.record import REPOSITORY

VARIABLES = "lai,cab,cwc,soil_moisture,fapar"
SECONDS, GIGABYTES = 120, 3
DATA = Path(os.environ.get("PHYSFUSE_DATA", REPOSITORY / ".." / "shared" / "data"))


def main() -> None:
    """Run and report."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    cubes = DATA / "belgium_crops_2021"
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "physfuse", "retrieve", "--quiet"]
        command += ["--optical", str(cubes / "optical_cube.nc")]
        command += ["--radar", str(cubes / "radar_cube.nc")]
        command += ["--variables", VARIABLES, "--out", str(Path(folder) / "daily.nc")]
        start = time.perf_counter()
        subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "2"})
        seconds = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    memory = used.ru_maxrss / 2**20
    print(
        f"Belgium, {VARIABLES}: {seconds:.0f} s by the clock (target {SECONDS}), "
        f"{used.ru_utime + used.ru_stime:.0f} s of processor time, "
        f"{memory:.2f} GB at most (target {GIGABYTES})"
    )


if __name__ == "__main__":
    main()
