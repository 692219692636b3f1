"""
The charts, as constant specifications: their data is handed over beside them, so that new data moves the marks of the
chart that is there instead of mounting a new one. Colours come from the theme (.streamlit/config.toml).
"""

from typing import Any

import altair as alt

Spec = dict[str, Any]

BAR_PX = 26  # one horizontal bar with its gap
MARGIN_PX = 24  # what the frame takes of a chart's height
GREY = "#808080"  # text that is read on light and on dark: the theme colours axes and marks, not words in the chart


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
                alt.Tooltip("minute:T", title="Minute", format="%H:%M"),
                alt.Tooltip("users:Q", title="Users", format=",d"),
                alt.Tooltip("state:N", title="State"),
            ],
        )
    )


def shares(bars: int) -> Spec:
    """`bars` horizontal bars in the table's order, each with its count and share at its end."""
    base = alt.Chart(alt.NamedData("rows"), height=bars * BAR_PX + MARGIN_PX).encode(
        y=alt.Y("value:N", sort=alt.EncodingSortField("place", op="min"), title=None, axis=alt.Axis(labelLimit=130)),
        x=alt.X("users:Q", title=None, axis=None, scale=alt.Scale(nice=False)),
        tooltip=[
            alt.Tooltip("value:N", title=" "),
            alt.Tooltip("users:Q", title="Users", format=",d"),
            alt.Tooltip("share:Q", title="Share", format=".2%"),
        ],
    )
    return _spec(base.mark_bar() + base.mark_text(align="left", dx=4, color=GREY).encode(text="label:N"))


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
                alt.Tooltip("at:T", title="At", format="%H:%M:%S"),
                alt.Tooltip("lane:N", title="Lane"),
                alt.Tooltip("quantile:N", title="Users"),
                alt.Tooltip("seconds:Q", title="Seconds", format=".2f"),
            ],
        )
    )


def _spec(chart: alt.Chart | alt.LayerChart) -> Spec:
    spec: Spec = chart.to_dict()
    del spec["data"]
    return spec
