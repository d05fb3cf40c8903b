"""The table in words: one paragraph per question, with the numbers that decide it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .arms import NDVI
from .table import IN_SITU, Row, Table

LINEAR = "linear"
PHYSICS = "physics"
ALL_BANDS = "all_bands"


def paragraphs(table: Table, models: Sequence[str]) -> list[tuple[str, str]]:
    """Questions and their answers, as far as the table holds them.

    Parameters
    ----------
    table : Table
    models : sequence of str
        Arms that are models, without their controls.

    Returns
    -------
    list of (str, str)
        Question and one paragraph of Markdown.
    """
    found: list[tuple[str, str]] = []
    if table.gaps:
        channel = main_channel(table)
        found.append(
            (f"Which arm predicts {channel} of a withheld date best?", _best(table, channel))
        )
        for model in models:
            for reference, name in ((LINEAR, "linear interpolation"), (PHYSICS, f"`{PHYSICS}`")):
                if table.get(model, table.gaps[0], channel, f"rmse_less_{reference}"):
                    question = f"Is `{model}` better than {name}?"
                    found.append((question, _against(table, model, reference, channel)))
        honest = _honest(table, models)
        if honest:
            found.append(("Do the intervals hold what they claim?", honest))
        for model in models:
            answer = _radar(table, model, channel)
            if answer:
                found.append((f"What is the radar worth to `{model}`?", answer))
    found += [
        (f"How close is {v} to the field?", _field(table, v, models)) for v in table.variables
    ]
    return found


def main_channel(table: Table) -> str:
    """The index where there is one, else all bands together."""
    return NDVI if NDVI in table.channels else ALL_BANDS


def number(value: float, decimals: int = 3) -> str:
    """Text of a number, one decimal for what is 10 and more; no minus before a zero."""
    text = f"{value:.{decimals}f}" if abs(value) < 10 else f"{value:.1f}"
    return text.removeprefix("-") if float(text) == 0 else text


def with_interval(row: Row) -> str:
    """Value and its 95 % interval, in three decimals, more where the interval is narrow."""
    if math.isnan(row.low):
        return number(row.value)
    width = row.high - row.low
    decimals = 3 if width >= 0.01 else 4 if width >= 0.001 or width == 0 else 5
    value, low, high = (number(v, decimals) for v in (row.value, row.low, row.high))
    return f"{value} ({low} to {high})"


def verdict(row: Row) -> str:
    """What a difference says: its interval decides, not its sign."""
    if math.isnan(row.low):
        return "undecided (one block only)"
    if row.high < 0:
        return "better"
    return "worse" if row.low > 0 else "not told apart"


def days(gap: float) -> str:
    """Length of a gap."""
    return f"{gap:g} d"


def _best(table: Table, channel: str) -> str:
    parts = []
    for gap in table.gaps:
        rows = [r for a in table.arms if (r := table.get(a, gap, channel, "rmse"))]
        order = sorted(rows, key=lambda r: r.value)
        first = order[0]
        rest = ", ".join(f"{r.arm} {number(r.value)}" for r in order[1:])
        ranked = [r for a in table.arms if (r := table.get(a, gap, channel, "crps"))]
        sharp = min(ranked, key=lambda r: r.value)
        parts.append(
            f"- **{days(gap)}** ({first.n} targets): lowest RMSE {first.arm}, "
            f"{with_interval(first)}; then {rest}. Lowest CRPS {sharp.arm}, {number(sharp.value)}."
        )
    intro = f"RMSE of {channel} with 95 % intervals by whole blocks."
    return "\n".join([intro, "", *parts])


def _against(table: Table, model: str, reference: str, channel: str) -> str:
    parts, wins, losses = [], [], []
    for gap in table.gaps:
        row = table.get(model, gap, channel, f"rmse_less_{reference}")
        ranked = table.get(model, gap, channel, f"crps_less_{reference}")
        bands = table.get(model, gap, ALL_BANDS, f"crps_less_{reference}")
        if row is None or ranked is None:
            continue
        text = (
            f"- **{days(gap)}**: RMSE of {channel} {with_interval(row)}, {verdict(row)}; "
            f"its CRPS {with_interval(ranked)}, {verdict(ranked)}"
        )
        if bands is not None and channel != ALL_BANDS:
            text += f"; CRPS over all bands {with_interval(bands)}, {verdict(bands)}"
        parts.append(text + ".")
        if verdict(row) == "better":
            wins.append(days(gap))
        if verdict(row) == "worse":
            losses.append(days(gap))
    if wins and not losses:
        said = f"By RMSE yes at {', '.join(wins)}"
    elif losses and not wins:
        said = f"By RMSE no: it loses at {', '.join(losses)}"
    elif wins:
        said = f"By RMSE it wins at {', '.join(wins)} and loses at {', '.join(losses)}"
    else:
        said = "By RMSE the two cannot be told apart at any gap"
    others = len(table.gaps) - len(wins) - len(losses)
    if (wins or losses) and others:
        said += f"; at the other {others} the two cannot be told apart"
    note = f"{said}. Differences are {model} less {reference} (negative is better):"
    return "\n".join([note, "", *parts])


def _honest(table: Table, models: Sequence[str]) -> str:
    parts = []
    arms = [a for a in table.arms if a in models or a in (LINEAR, "whittaker", "gp")]
    channel = ALL_BANDS if ALL_BANDS in table.channels else main_channel(table)
    for arm in arms:
        cells = []
        for gap in table.gaps:
            wide = table.get(arm, gap, channel, "coverage_90")
            half = table.get(arm, gap, channel, "coverage_50")
            if wide and half:
                cells.append(f"{days(gap)} {wide.value:.2f} / {half.value:.2f}")
        if cells:
            parts.append(f"- {arm}: " + ", ".join(cells))
    if not parts:
        return ""
    judged = []
    for model in models:
        rows = [r for gap in table.gaps if (r := table.get(model, gap, channel, "coverage_90"))]
        low = [days(float(r.gap)) for r in rows if r.value < 0.85]
        high = [days(float(r.gap)) for r in rows if r.value > 0.95]
        if low:
            judged.append(f"Too narrow at {', '.join(low)} (hold below 0.85): `{model}`")
        if high:
            judged.append(f"Too wide at {', '.join(high)} (hold above 0.95): `{model}`")
        if rows and not low and not high:
            judged.append(f"Between 0.85 and 0.95 at every gap: `{model}`")
    intro = f"Share of {channel.replace('_', ' ')} inside the 90 % / 50 % interval"
    return "\n".join([". ".join([intro, *judged]) + ".", "", *parts])


def _radar(table: Table, model: str, channel: str) -> str:
    without, mixed = f"{model}/no-radar", f"{model}/radar-shuffled"
    parts, gains, harms, sham = [], [], [], []
    for gap in table.gaps:
        row = table.get(model, gap, channel, f"rmse_less_{without}")
        other = table.get(mixed, gap, channel, f"rmse_less_{without}")
        if row is None:
            continue
        text = f"- **{days(gap)}**: RMSE of {channel} {with_interval(row)}, {verdict(row)}"
        if other is not None:
            text += f"; shuffled {with_interval(other)}, {verdict(other)}"
            sham += [days(gap)] if verdict(other) == "better" else []
        gains += [days(gap)] if verdict(row) == "better" else []
        harms += [days(gap)] if verdict(row) == "worse" else []
        parts.append(text + ".")
    if not parts:
        return ""
    said = f"It helps at {', '.join(gains)}" if gains else "No gain can be shown at any gap"
    if harms:
        said += f"; it harms at {', '.join(harms)}"
    if sham:
        said += f"; at {', '.join(sham)} shuffled radar gains too, which is no information"
    return "\n".join([f"{said}. Differences from `{without}` (negative is better):", "", *parts])


def _field(table: Table, variable: str, models: Sequence[str]) -> str:
    parts = []
    for arm in table.arms:
        error = table.get(arm, IN_SITU, variable, "rmse")
        off = table.get(arm, IN_SITU, variable, "bias")
        inside = table.get(arm, IN_SITU, variable, "coverage_90")
        rank = table.get(arm, IN_SITU, variable, "crps")
        if not (error and off and inside and rank):
            continue
        text = (
            f"- {arm}: RMSE {with_interval(error)}, bias {number(off.value)}, CRPS "
            f"{number(rank.value)}, inside the 90 % interval {inside.value:.2f}"
        )
        wider = table.get(arm, IN_SITU, variable, "coverage_90_with_error")
        if wider is not None:
            text += f", with the measurement's error {wider.value:.2f}"
        parts.append(text + ".")
    rows = [r for a in table.arms if (r := table.get(a, IN_SITU, variable, "rmse"))]
    best = min(rows, key=lambda r: r.value)
    said = f"Lowest RMSE of {best.n} measurements: {best.arm}."
    for model in models:
        for reference in table.arms:
            row = table.get(model, IN_SITU, variable, f"rmse_less_{reference}")
            if row is not None:
                said += f" `{model}` less {reference}: {with_interval(row)}, {verdict(row)}."
    return "\n".join([said, "", *parts])


def markdown(title: str, found: Sequence[tuple[str, str]], footer: Sequence[str]) -> str:
    """Page of questions and answers.

    Parameters
    ----------
    title : str
    found : sequence of (str, str)
        From :func:`paragraphs`.
    footer : sequence of str
        Lines at the end: circumstances, notes.

    Returns
    -------
    str
        Markdown.
    """
    lines = [f"# {title}", ""]
    for question, answer in found:
        lines += [f"## {question}", "", answer, ""]
    return "\n".join([*lines, *footer, ""])
