"""
The charts, as constant specifications in the viewer's language: their data is handed over beside them, so that new data
moves the marks of the chart that is there instead of mounting a new one. Colours come from the theme
(.streamlit/config.toml).
"""

import json
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec

import altair as alt

from dashboard.specs import Spec, spec, spoken
from dashboard.words import language, say

P = ParamSpec("P")

BAR_PX = 26  # one horizontal bar with its gap
MARGIN_PX = 24  # what the frame takes of a chart's height
LAND = "app/static/land.json"  # served by ourselves, for browsers without the internet
GREY = "#808080"  # text that is read on light and on dark: the theme colours axes and marks, not words in the chart


def constant(make: Callable[P, Spec]) -> Callable[P, Spec]:
    """Make a specification once for the same words and arguments: to check it costs more than to draw it."""

    @lru_cache(maxsize=64)
    def written(_language: str, *args: P.args, **named: P.kwargs) -> str:
        return json.dumps(make(*args, **named))

    @wraps(make)
    def read(*args: P.args, **named: P.kwargs) -> Spec:
        made: Spec = json.loads(written(language(), *args, **named))  # type: ignore[arg-type] # they are hashable
        return made

    return read


@constant
def minutes() -> Spec:
    """A bar a minute; the running one is paler, because it still grows."""
    return _spec(
        alt.Chart(alt.NamedData("rows"), height=240)
        .mark_bar()
        .encode(
            x=alt.X("minute:T", timeUnit="yearmonthdatehoursminutes", title=None, axis=alt.Axis(format="%H:%M")),
            y=alt.Y("users:Q", title=None, axis=alt.Axis(format=",d", tickMinStep=1)),
            opacity=alt.condition("datum.state == 'running'", alt.value(0.45), alt.value(1.0)),
            tooltip=[
                alt.Tooltip("minute:T", title=say("Minute"), format="%H:%M"),
                alt.Tooltip("users:Q", title=say("Users"), format=",d"),
            ],
        )
    )


@constant
def shares(bars: int) -> Spec:
    """`bars` horizontal bars in the table's order, each with its count and share at its end."""
    base = alt.Chart(alt.NamedData("rows"), height=bars * BAR_PX + MARGIN_PX).encode(
        y=alt.Y("value:N", sort=alt.EncodingSortField("place", op="min"), title=None, axis=alt.Axis(labelLimit=130)),
        x=alt.X("users:Q", title=None, axis=None, scale=alt.Scale(nice=False)),
        tooltip=[
            alt.Tooltip("value:N", title=" "),
            alt.Tooltip("users:Q", title=say("Users"), format=",d"),
            alt.Tooltip("share:Q", title=say("Share"), format=".2%"),
        ],
    )
    return _spec(base.mark_bar() + base.mark_text(align="left", dx=4, color=GREY).encode(text="label:N"))


@constant
def world() -> Spec:
    """A bubble a country on the outline of the land; its area is the users."""
    land = alt.Chart(alt.UrlData(LAND, format=alt.JsonDataFormat(type="json")))
    bubbles = (
        alt.Chart()
        .mark_circle(opacity=0.75, stroke=GREY, strokeWidth=1)
        .encode(
            longitude="longitude:Q",
            latitude="latitude:Q",
            size=alt.Size("users:Q", scale=alt.Scale(zero=True, range=[0, 700]), legend=None),
            tooltip=[
                alt.Tooltip("country:N", title=say("Country")),
                alt.Tooltip("users:Q", title=say("Users"), format=",d"),
                alt.Tooltip("share:Q", title=say("Share"), format=".2%"),
            ],
        )
    )
    outline = land.mark_geoshape(fill=GREY, fillOpacity=0.25, stroke=GREY, strokeOpacity=0.4, strokeWidth=0.5)
    return _spec(alt.layer(outline, bubbles, data=alt.NamedData("rows"), height=300).project("equalEarth"))


@constant
def pyramid(bands: int) -> Spec:
    """Two bars an age band, women's to the left, men's to the right."""
    return _spec(
        alt.Chart(alt.NamedData("rows"), height=bands * BAR_PX + 4 * MARGIN_PX)
        .mark_bar()
        .encode(
            y=alt.Y(
                "age:N",
                sort=alt.EncodingSortField("place", op="min"),
                title=None,
                axis=alt.Axis(labelOverlap=False),
            ),
            x=alt.X("signed:Q", title=None, axis=alt.Axis(labelExpr="format(abs(datum.value), ',d')", tickCount=4)),
            color=alt.Color("gender:N", title=None, legend=alt.Legend(orient="top")),
            tooltip=[
                alt.Tooltip("age:N", title=say("Age")),
                alt.Tooltip("gender:N", title=say("Gender")),
                alt.Tooltip("users:Q", title=say("Users"), format=",d"),
            ],
        )
    )


@constant
def grouped(rows: int, columns: int) -> Spec:
    """Two dimensions, one of few values: a bar for each, side by side, in the table's order."""
    return _spec(
        alt.Chart(alt.NamedData("rows"), height=rows * (10 * columns + 10) + 2 * MARGIN_PX)
        .mark_bar()
        .encode(
            y=alt.Y(
                "value:N", sort=alt.EncodingSortField("place", op="min"), title=None, axis=alt.Axis(labelLimit=130)
            ),
            yOffset=alt.YOffset("column:N", sort=alt.EncodingSortField("column_place", op="min")),
            x=alt.X("users:Q", title=None, axis=alt.Axis(format=",d", tickCount=4)),
            color=alt.Color("column:N", title=None, sort=None, legend=alt.Legend(orient="top", columns=4)),
            tooltip=_crossed(),
        )
    )


@constant
def heat(rows: int, *, wide: bool) -> Spec:
    """Two dimensions of many values: a field for each pair, the more users the stronger; `wide` names stand upright."""
    return _spec(
        alt.Chart(alt.NamedData("rows"), height=rows * BAR_PX + (8 if wide else 5) * MARGIN_PX)
        .mark_rect()
        .encode(
            y=alt.Y(
                "value:N", sort=alt.EncodingSortField("place", op="min"), title=None, axis=alt.Axis(labelLimit=130)
            ),
            x=alt.X(
                "column:N",
                sort=alt.EncodingSortField("column_place", op="min"),
                title=None,
                axis=alt.Axis(labelAngle=-90 if wide else 0),
            ),
            color=alt.Color("users:Q", title=None, legend=alt.Legend(orient="top", format="~s")),
            tooltip=_crossed(),
        )
    )


@constant
def change(bars: int) -> Spec:
    """A bar a value from the middle: to the left its share has become smaller, to the right larger; in points."""
    return _spec(
        alt.Chart(alt.NamedData("rows"), height=bars * BAR_PX + 2 * MARGIN_PX)
        .mark_bar()
        .encode(
            y=alt.Y(
                "value:N", sort=alt.EncodingSortField("place", op="min"), title=None, axis=alt.Axis(labelLimit=130)
            ),
            x=alt.X("points:Q", title=None, axis=alt.Axis(format="+.1f", tickCount=5)),
            color=alt.Color("sign:N", title=None, legend=alt.Legend(orient="top")),
            tooltip=[
                alt.Tooltip("value:N", title=" "),
                alt.Tooltip("points:Q", title=say("Change in points"), format="+.2f"),
                alt.Tooltip("share:Q", title=say("Share"), format=".2%"),
            ],
        )
    )


@constant
def timeline(format: str, step_ms: int) -> Spec:
    """A line a value over time, told apart by colour and by dashes; no tick is nearer to the next than `step_ms`."""
    legend = alt.Legend(orient="top", columns=3, symbolType="stroke", symbolSize=300)
    return _spec(
        alt.Chart(alt.NamedData("rows"), height=280)
        .mark_line(point=True)
        .encode(
            x=alt.X("at:T", title=None, axis=alt.Axis(format=format, labelOverlap=True, tickMinStep=step_ms)),
            y=alt.Y("users:Q", title=None, axis=alt.Axis(format=",d", tickCount=5)),
            color=alt.Color("value:N", title=None, sort=None, legend=legend),
            strokeDash=alt.StrokeDash("value:N", title=None, sort=None, legend=legend),
            tooltip=[
                alt.Tooltip("at:T", title=say("Time"), format=format),
                alt.Tooltip("value:N", title=" "),
                alt.Tooltip("users:Q", title=say("Users"), format=",d"),
            ],
        )
    )


def _crossed() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("value:N", title=" "),
        alt.Tooltip("column:N", title="  "),
        alt.Tooltip("users:Q", title=say("Users"), format=",d"),
        alt.Tooltip("share:Q", title=say("Share"), format=".2%"),
    ]


@constant
def delays() -> Spec:
    """A line a lane and quantile over time, in seconds: lanes by colour, p95 dashed."""
    return _spec(
        alt.Chart(alt.NamedData("rows"), height=280)
        .mark_line(interpolate="monotone", point=False)
        .encode(
            x=alt.X("at:T", title=None, axis=alt.Axis(format="%H:%M", tickMinStep=60_000, labelOverlap=True)),
            y=alt.Y("seconds:Q", title=None, axis=alt.Axis(format="~s", labelExpr="datum.label + ' s'")),
            color=alt.Color("lane:N", title=None, sort=["raw", "stats"], legend=alt.Legend(orient="top")),
            strokeDash=alt.StrokeDash(
                "quantile:N", title=None, sort=["p50", "p95"], legend=alt.Legend(orient="top", symbolStrokeColor=GREY)
            ),
            tooltip=[
                alt.Tooltip("at:T", title=say("Moment"), format="%H:%M:%S"),
                alt.Tooltip("lane:N", title=say("Lane")),
                alt.Tooltip("quantile:N", title=say("Quantile")),
                alt.Tooltip("seconds:Q", title=say("Seconds"), format=".2f"),
            ],
        )
    )


def _spec(chart: alt.Chart | alt.LayerChart | alt.FacetChart) -> Spec:
    return spoken(spec(chart))
