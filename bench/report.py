"""The report of a run, as Markdown to read and to keep, and as one HTML page with the samples drawn."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import groupby
from pathlib import Path

from bench import figures
from bench.comparison import Line, compared, differences
from bench.figures import Ratio
from bench.result import OURS, Result, Sample, values, written
from chaos.drawing import COLOURS, LEFT, ROW, WIDTH, box, text
from chaos.report import STYLE, table

NAMES = 260  # pixels for a bar's name
DOT = 4
HEAD = ("subject", "metric", "median", "least to most", "samples", f"{OURS} is so many times it")
COMPARED = ("figure", "before", "now", "times", "verdict")
Lines = list[tuple[str, ...]]


def groups(result: Result) -> Iterator[tuple[str, list[list[Sample]]]]:
    """The samples by what and case; within them a list for each subject and metric."""
    found = values(result.samples)
    for (what, case), keys in groupby(found, key=lambda key: key[:2]):
        yield f"{what}: {case}" if case else what, [found[key] for key in keys]


def lines(group: Sequence[Sequence[Sample]]) -> Lines:
    """A line for each subject and metric, with ours as a ratio, round by round."""
    ours = {one[0].metric: one for one in group if one[0].subject == OURS}
    return [row(one, ours.get(one[0].metric)) for one in group]


def row(samples: Sequence[Sample], ours: Sequence[Sample] | None) -> tuple[str, ...]:
    first, told = samples[0], figures.summary([one.value for one in samples])
    ratio = ""
    if ours is not None and first.subject != OURS:
        mine, theirs = by_round(ours, samples)
        found = figures.ratio(mine, theirs, paired=True)
        ratio = times(found) if found else f"{mine[0] / theirs[0]:.2f}" if len(mine) == 1 and theirs[0] else ""
    spread = f"{number(told.least)} to {number(told.most)}"
    return first.subject, first.metric, f"{number(told.median)} {first.unit}", spread, str(told.n), ratio


def by_round(one: Sequence[Sample], other: Sequence[Sample]) -> tuple[list[float], list[float]]:
    """The values of both in the rounds that both have."""
    mine, theirs = ({sample.round: sample.value for sample in some} for some in (one, other))
    both = sorted(mine.keys() & theirs.keys())
    return [mine[n] for n in both], [theirs[n] for n in both]


def number(value: float) -> str:
    """Three digits that matter, thousands apart."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def times(ratio: Ratio) -> str:
    return f"{ratio.middle:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"


def facts(result: Result) -> list[str]:
    """A run's circumstances, a sentence each."""
    told = ", ".join(f"{key} {value}" for key, value in result.machine.items())
    return [
        f"{result.began:%Y-%m-%d %H:%M} UTC, {result.seconds:.0f} s"
        + (" in the short form: it shows that everything measures, and no figure." if result.short else "."),
        f"{told}; load before it {result.load:.1f}.",
        ", ".join(f"{name} {version}" for name, version in result.versions.items()) + ".",
        ", ".join(f"{key}={value}" for key, value in result.settings.items()) + ".",
        *(f"Not run, or not to its end: {name}: {why}." for name, why in result.absent.items()),
    ]


def keep(result: Result, before: Result | None, folder: Path) -> Path:
    """Write a result as JSON, Markdown and a page; its name is the time that it began."""
    file = written(result, folder)
    file.with_suffix(".md").write_text(markdown(result, before))
    file.with_suffix(".html").write_text(html(result, before))
    return file


def markdown(result: Result, before: Result | None = None) -> str:
    """The report as text."""
    parts = ["# Benchmark", *facts(result)]
    for name, group in groups(result):
        parts += [f"## {name}", pipes(HEAD, lines(group))]
    if before is not None:
        parts += [f"## Against the run of {before.began:%Y-%m-%d %H:%M}", *differences(result, before)]
        parts.append(pipes(COMPARED, against(compared(result, before))))
    return "\n\n".join(parts) + "\n"


def html(result: Result, before: Result | None = None) -> str:
    """The report as a page without scripts, readable offline."""
    parts = ["<h1>Benchmark</h1>", *(f"<p>{escape(fact)}</p>" for fact in facts(result))]
    for name, group in groups(result):
        parts += [f"<h2>{escape(name)}</h2>", *drawings(group), table(lines(group), HEAD)]
    if before is not None:
        parts.append(f"<h2>Against the run of {before.began:%Y-%m-%d %H:%M}</h2>")
        parts += [f"<p>{escape(one)}</p>" for one in differences(result, before)]
        parts.append(table(against(compared(result, before)), COMPARED))
    style = f"<style>{STYLE}</style>"
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>Benchmark</title>{style}{''.join(parts)}</html>"
    )


def pipes(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows))


def against(compared_lines: Iterable[Line]) -> Lines:
    return [
        (
            ", ".join(filter(None, (one.what, one.case, one.subject, one.metric))),
            f"{number(one.before)} {one.unit}",
            f"{number(one.now)} {one.unit}",
            times(one.ratio) if one.ratio else f"{one.now / one.before:.2f}" if one.before else "",
            one.verdict,
        )
        for one in compared_lines
    ]


def drawings(group: Sequence[Sequence[Sample]]) -> Iterator[str]:
    """A drawing for each metric that more than one subject has: a bar to the median, a dot for each sample."""
    for metric in dict.fromkeys(one[0].metric for one in group):
        chosen = [one for one in group if one[0].metric == metric]
        if len(chosen) > 1:
            yield f"<p>{escape(metric)}, {escape(chosen[0][0].unit)}</p>{drawn(chosen)}"


def drawn(chosen: Sequence[Sequence[Sample]]) -> str:
    most = max(one.value for samples in chosen for one in samples) or 1.0
    scale = (WIDTH - NAMES - LEFT) / most
    parts = []
    for n, samples in enumerate(chosen):
        median = figures.summary([one.value for one in samples]).median
        colour = COLOURS[0] if samples[0].subject == OURS else COLOURS[1]
        parts.append(text(0, n * ROW + 14, samples[0].subject))
        parts.append(box(NAMES, n * ROW + 4, median * scale, ROW - 10, colour))
        parts += [box(NAMES + one.value * scale, n * ROW + 6, DOT, DOT, "#1c2733") for one in samples]
        parts.append(text(NAMES + max(one.value for one in samples) * scale + 8, n * ROW + 14, number(median)))
    return f"<svg viewBox='0 0 {WIDTH} {len(chosen) * ROW}' role='img'>{''.join(parts)}</svg>"
