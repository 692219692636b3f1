"""
Prometheus's configuration: whom it asks every 5 or 15 seconds, and where its rules and its Alertmanager are.

The label `job` is what rules and dashboards go by. What is not run here has no job.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import yaml

from engines.config import Config
from observability.settings import ROOT

EVERY = "5s"
SLOW = "15s"  # Spark's pages and the JMX agents, where each answer goes through hundreds of beans; spans' metrics
RULES = ROOT / "observability" / "prometheus" / "rules" / "*.yml"

Yaml = dict[str, Any]
Hosts = Callable[[str], str]  # where the program of a name is

# Spark names each metric after the application's id, which is another one at each start; and it has hundreds.
SPARK_NAMES = (
    {
        "source_labels": ["__name__"],
        "regex": "metrics_.+?_driver_(.+)",
        "target_label": "__name__",
        "replacement": "spark_driver_$1",
    },
    {
        "source_labels": ["__name__"],
        "regex": "metrics_executor_(.+)",
        "target_label": "__name__",
        "replacement": "spark_executor_$1",
    },
    {
        "source_labels": ["__name__"],
        "regex": "spark_driver_(BlockManager|DAGScheduler_job|DAGScheduler_stage|ExecutorMetrics_JVM|JVMCPU"
        "|LiveListenerBus_queue|jvm_pools_CodeCache|spark_streaming).+_Number|spark_driver_LiveListenerBus_.+_Count"
        "|spark_executor_(activeTasks|failedTasks_total|completedTasks_total|totalTasks_total|memoryUsed_bytes"
        "|diskUsed_bytes|JVMHeapMemory_bytes|JVMOffHeapMemory_bytes|totalGCTime_seconds_total|totalShuffle.+)",
        "action": "keep",
    },
    {"regex": "application_id|application_name", "action": "labeldrop"},
)

# The process whose span came first: the counts are of all processes of a service.
SPAN_NAMES = ({"regex": "exported_(job|instance)|otel_scope_.+", "action": "labeldrop"},)

# What the watchers say of themselves: the counts alone, not the hundreds of buckets.
OWN_NAMES = ({"source_labels": ["__name__"], "regex": "go_.+|net_.+|prometheus_sd_.+|.+_bucket", "action": "drop"},)
OWN = ("prometheus", "alertmanager", "jaeger")
OF_KIND: dict[str, Yaml] = {
    **{name: {"metric_relabel_configs": list(OWN_NAMES)} for name in OWN},
    "cassandra": {"scrape_interval": SLOW},
}


def configuration(config: Config) -> str:
    """The whole prometheus.yml of a system that is all at one host."""
    return yaml.safe_dump(whole(config, lambda _: config.host, str(RULES)), sort_keys=False, width=120)


def whole(config: Config, host: Hosts, rules: str) -> Yaml:
    """The same as data, wherever each program is."""
    return {
        "global": {
            "scrape_interval": EVERY,
            "scrape_timeout": "4s",
            "evaluation_interval": EVERY,
            "metric_name_validation_scheme": "legacy",
            "metric_name_escaping_scheme": "underscores",
        },
        "rule_files": [rules],
        "alerting": {"alertmanagers": [{"static_configs": [at(host("alertmanager"), config.alertmanager_port)]}]},
        "scrape_configs": list(jobs(config, host)),
    }


def jobs(config: Config, host: Hosts) -> Iterator[Yaml]:
    """Every process of ours that runs here and answers Prometheus."""
    for name, port in processes(config):
        found = job(name, [at(host(name), port)])
        yield found | OF_KIND.get(name, {})
    if config.own_traces:
        spans = job("spanmetrics", [at(host("jaeger"), config.spanmetrics_port)])
        yield spans | {"scrape_interval": SLOW, "metric_relabel_configs": list(SPAN_NAMES)}
    if config.own_kafka:
        numbers = range(1, config.brokers + 1)
        jmx = config.kafka_jmx_port - 1
        brokers = [at(host(f"kafka-{n}"), jmx + n, broker=str(n)) for n in numbers]
        yield job("kafka", brokers) | {"scrape_interval": SLOW}
    yield spark(config, host)


def processes(config: Config) -> Iterator[tuple[str, int]]:
    """The jobs of one process each, with its port."""
    yield "ingest", config.ingest_metrics_port
    yield "spark", config.spark_metrics_port
    yield "dashboard", config.dashboard_metrics_port
    yield "auditor", config.auditor_metrics_port
    yield "exporter", config.exporter_metrics_port
    yield "prometheus", config.prometheus_port
    yield "alertmanager", config.alertmanager_port
    if config.own_source:
        yield "simulator", config.simulator_metrics_port
    if config.own_cassandra:
        yield "cassandra", config.cassandra_jmx_port
    if config.own_traces:
        yield "jaeger", config.jaeger_metrics_port


def spark(config: Config, host: Hosts) -> Yaml:
    """Spark's own pages of metrics: the driver's, and the executors'."""
    pages = {"driver": "/metrics/prometheus", "executors": "/metrics/executors/prometheus"}
    place = host("spark")
    targets = [at(place, config.spark_ui_port, part=part, __metrics_path__=path) for part, path in pages.items()]
    return job("spark-ui", targets) | {
        "scrape_interval": SLOW,
        "fallback_scrape_protocol": "PrometheusText0.0.4",  # Spark does not say what its text is
        "metric_relabel_configs": list(SPARK_NAMES),
    }


def job(name: str, targets: Sequence[Yaml]) -> Yaml:
    """Pages are sent as they are: on one machine, packing them costs both sides more than it saves."""
    return {"job_name": name, "enable_compression": False, "static_configs": list(targets)}


def at(host: str, port: int, **labels: str) -> Yaml:
    """One target, with labels of its own."""
    found: Mapping[str, Any] = {"targets": [f"{host}:{port}"]}
    return {**found, **({"labels": labels} if labels else {})}
