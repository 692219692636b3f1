"""Panels and dashboards, as data, made into Grafana's own by the foundation SDK."""

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote
from zlib import crc32

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from grafana.panels import ALERTS, HEATMAP, LINES, STACKED, STAT, TABLE, TIMELINE, Board, Panel, Query, Variable

PROMETHEUS = models.DataSourceRef(type_val="prometheus", uid="vigie-prometheus")
JAEGER = models.DataSourceRef(type_val="jaeger", uid="vigie-jaeger")
GRAFANA = models.DataSourceRef(type_val="grafana", uid="-- Grafana --")
RUNBOOKS = "/public/vigie/runbooks"  # docs/runbooks, which compose mounts among the files that Grafana serves
COLUMNS = 24
Drawn = timeseries.Panel | stat.Panel | heatmap.Panel | table.Panel | statetimeline.Panel | dashboard.Panel


def text(board: Board) -> str:
    """The dashboard's JSON, the same for the same board."""
    return json.dumps(whole(board), cls=JSONEncoder, indent=1, sort_keys=True) + "\n"


def whole(board: Board) -> models.Dashboard:
    """The dashboard: links to the others, marks of drills, variables, and all panels at their places."""
    made = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.says)
        .tags(["vigie"])
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .time(board.since, "now")
        .refresh("10s")
        .link(
            dashboard.DashboardLink("Vigie").type(models.DashboardLinkType.DASHBOARDS).tags(["vigie"]).keep_time(True)
        )
        .annotation(drills())
        .variables([variable(each) for each in board.variables])
    )
    for part in placed(board):
        if isinstance(part, dashboard.Row):
            made.with_row(part)
        else:
            made.with_panel(part)
    return made.build()


def drills() -> dashboard.AnnotationQuery:
    """What was broken on purpose, and when: marks with the tag `drill`."""
    tagged = dashboard.AnnotationTarget().tags(["drill"]).type("tags").limit(100).match_any(False)
    made = dashboard.AnnotationQuery().name("Drills").datasource(GRAFANA).enable(True).hide(False)
    return made.icon_color("orange").target(tagged)


def variable(each: Variable) -> dashboard.QueryVariable | dashboard.CustomVariable:
    """A choice of one, several or all."""
    every = models.VariableOption(selected=True, text=["All"], value=["$__all"])
    made: dashboard.QueryVariable | dashboard.CustomVariable
    if each.metric:
        made = dashboard.QueryVariable(each.name).query(f"label_values({each.metric}, {each.name})")
        made.datasource(PROMETHEUS).refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        made.sort(models.VariableSort.ALPHABETICAL_ASC)
    else:
        made = dashboard.CustomVariable(each.name).values(",".join(each.values))
    return made.label(each.name).description(each.says).multi(True).include_all(True).all_value(".+").current(every)


def placed(board: Board) -> Iterator[dashboard.Row | Drawn]:
    """Rows and panels from left to right, the next line below the tallest of this one."""
    y = 0
    for row in board.rows:
        place = models.GridPos(h=1, w=COLUMNS, x=0, y=y)
        yield dashboard.Row(row.title).id(number(f"row {row.title}")).grid_pos(place)
        x, y, tallest = 0, y + 1, 0
        for panel in row.panels:
            if x + panel.width > COLUMNS:
                x, y, tallest = 0, y + tallest, 0
            yield drawn(panel).grid_pos(models.GridPos(h=panel.height, w=panel.width, x=x, y=y))
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest


def number(title: str) -> int:
    """The same for the same title, so that a link to a panel outlives its neighbours."""
    return crc32(title.encode()) % 1_000_000 + 1


def drawn(panel: Panel) -> Drawn:
    """The panel, but for its place."""
    made = KINDS[panel.kind](panel)
    made.id(number(panel.title)).title(panel.title).description(panel.says).datasource(PROMETHEUS)
    made.targets([target(panel.kind, query, n) for n, query in enumerate(panel.queries)]).links(list(links(panel)))
    if panel.kind != ALERTS:
        made.unit(panel.unit)
    if panel.limits:
        made.thresholds(limits(panel))
    if panel.words:
        shown = {
            str(value): models.ValueMappingResult(text=word, color=ink) for value, (word, ink) in panel.words.items()
        }
        made.mappings([models.ValueMap(options=shown)])
    return made


def limits(panel: Panel) -> dashboard.ThresholdsConfig:
    steps = [models.Threshold(value=value, color=colour) for value, colour in panel.limits]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def target(kind: str, query: Query, n: int) -> prometheus.Dataquery:
    made = prometheus.Dataquery().expr(query.expr).ref_id(chr(ord("A") + n)).datasource(PROMETHEUS)
    made.legend_format(query.legend or "__auto").exemplar(query.exemplars)
    if kind == TABLE:
        made.instant()
    else:
        made.range()
    shape = {TABLE: PromQueryFormat.TABLE, HEATMAP: PromQueryFormat.HEATMAP}
    return made.format(shape.get(kind, PromQueryFormat.TIME_SERIES))


def links(panel: Panel) -> Iterator[dashboard.DashboardLink]:
    """To the runbook, to the dashboard that says more, to the traces of the process."""
    if panel.runbook:
        yield link("Runbook", f"{RUNBOOKS}/{panel.runbook}.md").target_blank(True)
    if panel.leads:
        yield link("More of it", f"/d/{panel.leads}?${{__url_time_range}}")
    if panel.service:
        asked = {"refId": "A", "queryType": "search", "service": panel.service, "datasource": JAEGER}
        pane = {"datasource": JAEGER.uid, "queries": [asked], "range": {"from": "${__from}", "to": "${__to}"}}
        panes = quote(json.dumps({"t": pane}, cls=JSONEncoder, sort_keys=True)).replace("%24%7B", "${")
        panes = panes.replace("__from%7D", "__from}").replace("__to%7D", "__to}")
        yield link("Traces", f"/explore?schemaVersion=1&orgId=1&panes={panes}")


def link(title: str, url: str) -> dashboard.DashboardLink:
    return dashboard.DashboardLink(title).type(models.DashboardLinkType.LINK).url(url)


def lines(panel: Panel) -> timeseries.Panel:
    made = timeseries.Panel().line_width(1).fill_opacity(8).show_points(options.VisibilityMode.NEVER).axis_soft_min(0)
    made.legend(legend()).tooltip(tooltip())
    made.color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC))
    if panel.limits:
        made.thresholds_style(common.GraphThresholdsStyleConfig().mode(options.GraphTresholdsStyleMode.DASHED))
    return made


def stacked(panel: Panel) -> timeseries.Panel:
    return lines(panel).fill_opacity(40).stacking(common.StackingConfig().mode(options.StackingMode.NORMAL))


def large(_: Panel) -> stat.Panel:
    last = common.ReduceDataOptions().calcs(["lastNotNull"])
    made = stat.Panel().reduce_options(last).graph_mode(options.BigValueGraphMode.AREA)
    return made.color_mode(options.BigValueColorMode.VALUE)


def heat(panel: Panel) -> heatmap.Panel:
    colours = heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(32)
    made = heatmap.Panel().calculate(False).color(colours).exemplars_color("rgba(255,0,255,0.7)")
    return made.y_axis(heatmap.YAxisConfig().unit(panel.unit)).show_tooltip().show_legend()


def rows(panel: Panel) -> table.Panel:
    """Only the named columns, in their order, under their headings."""
    kept: dict[str, Any] = {"include": {"names": [column.name for column in panel.columns]}}
    order = {
        "indexByName": {column.name: n for n, column in enumerate(panel.columns)},
        "renameByName": {column.name: column.heading for column in panel.columns},
        "excludeByName": {},
    }
    made = table.Panel().show_header(True)
    if len(panel.queries) > 1:
        made.with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
    made.with_transformation(models.DataTransformerConfig(id_val="filterFieldsByName", options=kept))
    made.with_transformation(models.DataTransformerConfig(id_val="organize", options=order))
    for column in panel.columns:
        made.override_by_name(column.heading, [models.DynamicConfigValue(id_val="unit", value=column.unit)])
    return made


def bars(_: Panel) -> statetimeline.Panel:
    return statetimeline.Panel().merge_values(True).row_height(0.8).legend(legend()).tooltip(tooltip())


def alerts(_: Panel) -> dashboard.Panel:
    """What Prometheus's rules have firing or pending; the SDK has no builder for it."""
    return (
        dashboard.Panel()
        .type("alertlist")
        .options(
            {
                "viewMode": "list",
                "groupMode": "default",
                "groupBy": [],
                "maxItems": 30,
                "sortOrder": 3,
                "dashboardAlerts": False,
                "alertName": "",
                "alertInstanceLabelFilter": "",
                "datasource": "Prometheus",
                "stateFilter": {"firing": True, "pending": True, "noData": False, "normal": False, "error": True},
            }
        )
    )


def legend() -> common.VizLegendOptions:
    made = common.VizLegendOptions().display_mode(options.LegendDisplayMode.LIST).show_legend(True)
    return made.placement(options.LegendPlacement.BOTTOM)


def tooltip() -> common.VizTooltipOptions:
    return common.VizTooltipOptions().mode(options.TooltipDisplayMode.MULTI).sort(options.SortOrder.DESCENDING)


KINDS: dict[str, Callable[[Panel], Drawn]] = {
    LINES: lines,
    STACKED: stacked,
    STAT: large,
    HEATMAP: heat,
    TABLE: rows,
    TIMELINE: bars,
    ALERTS: alerts,
}
