"""Time and memory of `physfuse fit` with its default settings on the Spanish points.

122 points of Sentinel-2 over two seasons: calibration, training, choice and report, on two threads;
measured is a process of its own, from the start of Python to the closed files. The target is 15
minutes.
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

from benchmarks.science.record import data_folder

MINUTES = 15


def main() -> None:
    """Run and report."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    optical = data_folder() / "spain_crops_2018" / "optical_points.nc"
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "physfuse", "fit", "--quiet", "--optical", str(optical)]
        command += ["--out", str(Path(folder) / "model")]
        start = time.perf_counter()
        subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "2"})
        seconds = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"physfuse fit, Spain: {seconds / 60:.1f} min by the clock (target {MINUTES}), "
        f"{(used.ru_utime + used.ru_stime) / 60:.1f} min of processor time, "
        f"{used.ru_maxrss / 2**20:.2f} GB at most"
    )


if __name__ == "__main__":
    main()
