"""What Grafana is provisioned with has the form that Grafana reads, and holds together with dashboards and settings."""

import json
import re
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest
import yaml
from dotenv import dotenv_values

from grafana.catalogue import FOLDER
from grafana.draw import GRAFANA, RUNBOOKS
from grafana.served import SOURCES

ROOT = Path(__file__).parents[2]
PROVISIONING = ROOT / "grafana" / "provisioning"
ENV = dotenv_values(ROOT / "grafana" / "grafana.env")
Uid = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9-]{1,39}$")]
Address = Annotated[str, msgspec.Meta(pattern=r"^\$\{VIGIE_[A-Z]+_URL\}$")]


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A part of a file; a field that Grafana does not have is a mistake. docs: administration/provisioning."""


class TraceLink(Part, frozen=True, kw_only=True):
    name: str
    datasource_uid: Uid
    url_display_label: str = ""


class Tag(Part, frozen=True):
    key: str
    value: str = ""


class NamedQuery(Part, frozen=True):
    name: str
    query: str


class TracesToMetrics(Part, frozen=True, kw_only=True):
    datasource_uid: Uid
    tags: list[Tag]
    queries: list[NamedQuery]
    span_start_time_shift: str = ""
    span_end_time_shift: str = ""


class NodeGraph(Part, frozen=True):
    enabled: bool


class PrometheusOptions(Part, frozen=True, kw_only=True):
    http_method: Literal["GET", "POST"]
    prometheus_type: Literal["Prometheus", "Mimir", "Cortex", "Thanos"]
    time_interval: Annotated[str, msgspec.Meta(pattern=r"^\d+[smh]$")]
    manage_alerts: bool
    alertmanager_uid: Uid
    exemplar_trace_id_destinations: list[TraceLink]


class JaegerOptions(Part, frozen=True, kw_only=True):
    node_graph: NodeGraph
    traces_to_metrics: TracesToMetrics


class AlertmanagerOptions(Part, frozen=True, kw_only=True):
    implementation: Literal["prometheus", "mimir", "cortex"]
    handle_grafana_managed_alerts: bool


class Source(Part, frozen=True, kw_only=True, tag_field="type"):
    name: str
    uid: Uid
    access: Literal["proxy"]
    url: Address
    editable: bool
    is_default: bool = False


class Prometheus(Source, frozen=True, kw_only=True, tag="prometheus"):
    json_data: PrometheusOptions


class Jaeger(Source, frozen=True, kw_only=True, tag="jaeger"):
    json_data: JaegerOptions


class Alertmanager(Source, frozen=True, kw_only=True, tag="alertmanager"):
    json_data: AlertmanagerOptions


class Sources(Part, frozen=True, kw_only=True):
    api_version: Literal[1]
    prune: bool
    datasources: list[Prometheus | Jaeger | Alertmanager]


class ProviderOptions(Part, frozen=True, kw_only=True):
    path: str
    folders_from_files_structure: bool


class Provider(Part, frozen=True, kw_only=True):
    name: str
    org_id: int
    folder: str
    folder_uid: Uid
    type: Literal["file"]
    disable_deletion: bool
    allow_ui_updates: bool
    update_interval_seconds: Annotated[int, msgspec.Meta(ge=10)]
    options: ProviderOptions


class Providers(Part, frozen=True, kw_only=True):
    api_version: Literal[1]
    providers: list[Provider]


def text(kind: str) -> str:
    return (PROVISIONING / kind / "vigie.yml").read_text()


def sources() -> list[Prometheus | Jaeger | Alertmanager]:
    return msgspec.convert(yaml.safe_load(text("datasources")), Sources).datasources


def provider() -> Provider:
    (only,) = msgspec.convert(yaml.safe_load(text("dashboards")), Providers).providers
    return only


def test_each_folder_has_one_file_that_grafana_can_read():
    assert sorted(str(file.relative_to(PROVISIONING)) for file in PROVISIONING.rglob("*.*")) == [
        "dashboards/vigie.yml",
        "datasources/vigie.yml",
    ]
    assert [source.uid for source in sources()] == list(SOURCES)
    assert [source.uid for source in sources() if source.is_default] == ["vigie-prometheus"]
    assert provider().folder_uid == "vigie"


@pytest.mark.parametrize("wrong", [{"typo": 1}, {"url": "http://localhost:9090"}, {"uid": "Has Spaces"}])
def test_a_field_that_grafana_does_not_know_or_an_address_written_out_is_told(wrong):
    whole = yaml.safe_load(text("datasources"))
    whole["datasources"][0].update(wrong)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(whole, Sources)


def test_every_address_has_a_value_to_start_from():
    used = set(re.findall(r"(?<!\$)\$\{(\w+)\}", text("datasources") + text("dashboards")))
    assert used == {name for name in ENV if name.startswith("VIGIE_")}
    assert all(ENV.values())


def test_no_dollar_is_left_for_grafana_to_read_as_a_variable():
    for kind in ("datasources", "dashboards"):
        assert re.findall(r"(?<!\$)\$(?![${])", text(kind)) == []


def test_examples_lead_to_jaeger_by_the_label_that_we_write():
    prometheus = next(source for source in sources() if isinstance(source, Prometheus))
    (link,) = prometheus.json_data.exemplar_trace_id_destinations
    assert (link.name, link.datasource_uid) == ("trace_id", "vigie-jaeger")
    assert prometheus.json_data.alertmanager_uid in SOURCES
    jaeger = next(source for source in sources() if isinstance(source, Jaeger))
    assert jaeger.json_data.traces_to_metrics.datasource_uid in SOURCES


def test_dashboards_use_only_the_sources_that_are_there():
    written = "".join(file.read_text() for file in FOLDER.iterdir())
    used = set(re.findall(r'"uid": "([^"]+)"', written))
    boards = {file.stem for file in FOLDER.iterdir()}
    assert used - boards - {GRAFANA.uid} <= set(SOURCES)


def test_the_alert_list_names_the_source_as_it_is_named():
    overview = json.loads((FOLDER / "vigie-overview.json").read_text())
    (alerts,) = [panel for panel in overview["panels"] if panel["type"] == "alertlist"]
    assert alerts["options"]["datasource"] in {source.name for source in sources()}


def test_the_mounts_that_are_told_are_those_that_are_used():
    told = (ROOT / "grafana" / "grafana.env").read_text()
    assert f"grafana/dashboards -> {provider().options.path}" in told
    assert f"docs/runbooks -> /usr/share/grafana{RUNBOOKS}" in told
    home = ENV["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] or ""
    assert home.startswith(provider().options.path)
    assert (FOLDER / Path(home).name).is_file()
