"""Charts as specifications without their data, and in the viewer's language."""

import altair as alt

from dashboard.charts import Spec
from dashboard.words import locale


def spec(chart: alt.Chart | alt.LayerChart | alt.FacetChart) -> Spec:
    """The specification; its data is handed over beside it, to all of its layers."""
    made: Spec = chart.to_dict()
    for part in (made, *made.get("layer", ())):
        part.pop("data", None)
    return made


def spoken(made: Spec) -> Spec:
    """The specification with the language's numbers and dates."""
    return made | {"config": {**made.get("config", {}), **locale()}}
