"""All dashboards, and all that they ask."""

from pathlib import Path

from grafana import drills, ingestion, itself, lanes, overview, stores, topics
from grafana.promql import concrete

BOARDS = (overview.BOARD, ingestion.BOARD, topics.BOARD, lanes.BOARD, stores.BOARD, itself.BOARD, drills.BOARD)
FOLDER = Path(__file__).parent / "dashboards"


def expressions() -> list[tuple[str, str, str]]:
    """Dashboard, panel and expression, with values for Grafana's variables: each has data when all is well."""
    return [
        (board.uid, panel.title, concrete(query.expr))
        for board in BOARDS
        for row in board.rows
        for panel in row.panels
        for query in panel.queries
    ]
