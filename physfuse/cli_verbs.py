"""What each verb of the command line does with its arguments; imports wait until it is called."""

from __future__ import annotations

import argparse
import sys


def _need_cube(arguments: argparse.Namespace) -> None:
    from physfuse.errors import CubeError

    if not (arguments.optical or arguments.radar):
        raise CubeError("no cube given; name one with --optical, --radar or both")


def retrieve(arguments: argparse.Namespace) -> None:
    """Retrieve daily maps."""
    from physfuse.branches import check_model
    from physfuse.errors import CubeError
    from physfuse.retrieval import retrieve

    check_model(arguments.model)
    _need_cube(arguments)
    if (arguments.predict is None) != (arguments.predict_out is None):
        raise CubeError("--predict and --predict-out come together: the cube and where it goes")
    retrieve(
        optical=arguments.optical,
        radar=arguments.radar,
        model=arguments.model,
        calibration=arguments.calibration,
        classes=arguments.classes,
        context=arguments.context,
        out=arguments.out,
        start=arguments.start,
        end=arguments.end,
        variables=arguments.variables,
        season=arguments.season,
        place=arguments.place,
        overwrite=arguments.overwrite,
        quiet=arguments.quiet,
        predict=arguments.predict,
        predict_out=arguments.predict_out,
        bare_soil=arguments.bare_soil,
        seed=arguments.seed,
    )


def calibrate(arguments: argparse.Namespace) -> None:
    """Calibrate what all pixels share."""
    from physfuse.calibrating import SAMPLE, calibrate, calibrate_by_class
    from physfuse.calibration import Calibration, ClassCalibration

    _need_cube(arguments)
    options = {
        "out": arguments.out,
        "sample": SAMPLE if arguments.sample is None else arguments.sample,
        "seed": arguments.seed,
        "season": arguments.season,
        "place": arguments.place,
        "bare_soil": arguments.bare_soil,
        "overwrite": arguments.overwrite,
        "quiet": arguments.quiet,
    }
    cubes = (arguments.optical, arguments.radar)
    found: Calibration | ClassCalibration
    if arguments.classes is None:
        found = calibrate(*cubes, **options)
    else:
        found = calibrate_by_class(*cubes, classes=arguments.classes, **options)
    sys.stdout.write(found.table_text() + f"{arguments.out}\n")


def fit(arguments: argparse.Namespace) -> None:
    """Fit a hybrid."""
    from physfuse.calibrating import SAMPLE
    from physfuse.errors import DomainError
    from physfuse.fitting import fit
    from physfuse.learning import STEPS

    if arguments.calibration is not None and arguments.not_calibrated:
        raise DomainError("--calibration and --not-calibrated exclude each other; give one")
    found = fit(
        arguments.optical,
        arguments.radar,
        out=arguments.out,
        calibration=arguments.calibration,
        calibrated=not arguments.not_calibrated,
        labels=arguments.labels,
        context=arguments.context,
        classes=arguments.classes,
        sample=SAMPLE if arguments.sample is None else arguments.sample,
        steps=STEPS if arguments.steps is None else arguments.steps,
        null_test=arguments.null_test,
        seed=arguments.seed,
        season=arguments.season,
        place=arguments.place,
        bare_soil=arguments.bare_soil,
        overwrite=arguments.overwrite,
        quiet=arguments.quiet,
    )
    sys.stdout.write(found.text())


def report(arguments: argparse.Namespace) -> None:
    """Report on a model."""
    from physfuse.branches import check_model
    from physfuse.calibrating import SAMPLE
    from physfuse.reporting import report

    check_model(arguments.model)
    _need_cube(arguments)
    found = report(
        arguments.optical,
        arguments.radar,
        model=arguments.model,
        calibration=arguments.calibration,
        context=arguments.context,
        classes=arguments.classes,
        out=arguments.out,
        sample=SAMPLE if arguments.sample is None else arguments.sample,
        seed=arguments.seed,
        season=arguments.season,
        place=arguments.place,
        bare_soil=arguments.bare_soil,
        overwrite=arguments.overwrite,
        quiet=arguments.quiet,
    )
    sys.stdout.write(found.text())


def simulate(arguments: argparse.Namespace) -> None:
    """Simulate a season."""
    from physfuse.simulation import Options, save_simulation, simulate, simulate_fields

    options: Options = {
        "seed": arguments.seed,
        "start": arguments.start,
        "end": arguments.end,
    }
    if arguments.sensors is not None:
        options["sensors"] = tuple(arguments.sensors)
    if arguments.cloudiness is not None:
        options["cloudiness"] = arguments.cloudiness
    if arguments.gap_days is not None:
        options["gap_days"] = arguments.gap_days
    if arguments.looks is not None:
        options["looks"] = arguments.looks
    if arguments.bare_soil is not None:
        options["bare_soil"] = arguments.bare_soil
    if arguments.points:
        n_fields = 200 if arguments.fields is None else arguments.fields
        season = simulate_fields(n_fields, arguments.year, **options)
    else:
        n_fields = 9 if arguments.fields is None else arguments.fields
        season = simulate(n_fields, arguments.field_pixels, arguments.year, **options)
    written = save_simulation(season, arguments.out, overwrite=arguments.overwrite)
    sys.stdout.write("".join(f"{path}\n" for path in written))


def evaluate(arguments: argparse.Namespace) -> None:
    """Judge models."""
    from physfuse.evaluation import evaluate

    found = evaluate(
        optical=arguments.optical,
        radar=arguments.radar,
        withheld=arguments.withheld,
        gaps=arguments.gap,
        in_situ=arguments.in_situ,
        models=arguments.models,
        baselines=arguments.baselines,
        controls=arguments.controls,
        out=arguments.out,
        sites=arguments.sites,
        per_gap=arguments.per_gap,
        clear=arguments.clear,
        folds=arguments.folds,
        place=arguments.place,
        season=arguments.season,
        bare_soil=arguments.bare_soil,
        context=arguments.context,
        classes=arguments.classes,
        seed=arguments.seed,
        overwrite=arguments.overwrite,
        quiet=arguments.quiet,
    )
    sys.stdout.write("".join(f"{path}\n" for path in found.files))


def demo(arguments: argparse.Namespace) -> None:
    """Simulate and retrieve a small season."""
    from physfuse.demonstration import demo, score_table

    result = demo(arguments.out, quiet=arguments.quiet, overwrite=arguments.overwrite)
    sys.stdout.write(score_table(result.scores))
    sys.stdout.write("".join(f"{path}\n" for path in result.files))


def compare(arguments: argparse.Namespace) -> None:
    """Compare outputs."""
    from physfuse.comparison import compare

    found = compare(
        arguments.files,
        out=arguments.out,
        variables=arguments.variables,
        overwrite=arguments.overwrite,
    )
    sys.stdout.write("".join(f"{path}\n" for path in found.files))


def plot(arguments: argparse.Namespace) -> None:
    """Draw an output."""
    from physfuse.plot import plot_daily

    plot_daily(
        arguments.file,
        variables=arguments.variables,
        pixels=arguments.site if arguments.pixel is None else [arguments.pixel],
        dates=arguments.date,
        optical=arguments.optical,
        radar=arguments.radar,
        out=arguments.out,
        overwrite=arguments.overwrite,
    )
    sys.stdout.write(f"{arguments.out}\n")


def info(arguments: argparse.Namespace) -> None:
    """Tell what is in a file."""
    from physfuse.summary import info

    sys.stdout.write(info(arguments.file, place=arguments.place) + "\n")
