"""Charts as specifications without the data that is handed over beside them, and in the viewer's language."""

from typing import Any

import altair as alt

from dashboard.words import locale

Spec = dict[str, Any]
ROWS = {"name": "rows"}  # what is handed over; a chart may have data of its own too


def spec(chart: alt.Chart | alt.LayerChart | alt.FacetChart) -> Spec:
    """The specification; its rows are handed over beside it, to all of its layers."""
    made: Spec = chart.to_dict()
    for part in (made, *made.get("layer", ())):
        if part.get("data") == ROWS:
            del part["data"]
    return made


def spoken(made: Spec) -> Spec:
    """The specification with the language's numbers and dates."""
    return made | {"config": {**made.get("config", {}), **locale()}}
