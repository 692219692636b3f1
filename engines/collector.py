"""
Jaeger's configuration; it is an OpenTelemetry collector, too.

All spans become metrics (calls and durations by service and name). Of the traces only those worth a look are kept on
disk: failed ones, slow ones, the journeys of the users that are followed, and a few of the rest. The decision is
made when a trace's first span is 15 seconds old.
"""

from typing import Any

import yaml

from engines.config import Config
from engines.state import State

JOURNEY = "vigie.journey"  # "true" on a span of a user who is followed all the way
SLOW_MS = 5000
REST_PERCENT = 5
DECIDE_AFTER = "15s"
TRACES_UNDECIDED = 5000  # in memory; the oldest go first
TRACES_REMEMBERED = 50000  # so that late spans share the fate of their trace
SERIES = 1000  # of span metrics, then one `overflow`
BUCKETS = ("5ms", "10ms", "25ms", "50ms", "100ms", "250ms", "500ms", "1s", "2500ms", "5s", "10s", "30s")

Yaml = dict[str, Any]


def configuration(config: Config, state: State) -> str:
    """The whole jaeger.yaml."""
    whole: Yaml = {
        "service": service(config),
        "extensions": extensions(config, state),
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"{config.host}:{config.otlp_port}"}}}},
        "processors": {
            "memory_limiter": {"check_interval": "1s", "limit_mib": 160, "spike_limit_mib": 40},
            "tail_sampling": sampling(),
            "batch": {"timeout": "1s", "send_batch_size": 500, "send_batch_max_size": 2000},
        },
        "connectors": {"forward": {}, "spanmetrics": metrics()},
        "exporters": {
            "jaeger_storage_exporter": {"trace_storage": "disk"},
            "prometheus": {
                "endpoint": f"{config.host}:{config.spanmetrics_port}",
                "enable_open_metrics": True,
                "metric_expiration": "10m",
            },
        },
    }
    return yaml.safe_dump(whole, sort_keys=False, width=120)


def service(config: Config) -> Yaml:
    """All spans to the metrics and on to the sampling; what is kept to the disk."""
    answering = {"host": config.host, "port": config.jaeger_metrics_port, "without_scope_info": True}
    reader = {"pull": {"exporter": {"prometheus": answering}}}
    return {
        "extensions": ["jaeger_storage", "jaeger_query", "healthcheckv2"],
        "pipelines": {
            "traces/all": {
                "receivers": ["otlp"],
                "processors": ["memory_limiter"],
                "exporters": ["spanmetrics", "forward"],
            },
            "traces/kept": {
                "receivers": ["forward"],
                "processors": ["tail_sampling", "batch"],
                "exporters": ["jaeger_storage_exporter"],
            },
            "metrics": {"receivers": ["spanmetrics"], "exporters": ["prometheus"]},
        },
        "telemetry": {"metrics": {"level": "normal", "readers": [reader]}, "logs": {"level": "warn"}},
    }


def extensions(config: Config, state: State) -> Yaml:
    """The store on disk, the questions to it, and the health."""
    folder = state.data / "jaeger"
    return {
        "healthcheckv2": {"use_v2": True, "http": {"endpoint": f"{config.host}:{config.jaeger_health_port}"}},
        "jaeger_query": {
            "storage": {"traces": "disk"},
            "http": {"endpoint": f"{config.host}:{config.jaeger_port}"},
            "grpc": {"endpoint": f"{config.host}:{config.jaeger_grpc_port}"},
            "enable_tracing": False,  # of itself
        },
        "jaeger_storage": {
            "backends": {
                "disk": {
                    "badger": {
                        "directories": {"keys": str(folder / "keys"), "values": str(folder / "values")},
                        "ephemeral": False,
                        "ttl": {"spans": f"{config.trace_retention_hours}h"},
                    }
                }
            }
        },
    }


def sampling() -> Yaml:
    """What is kept: the first policy that says yes decides."""
    return {
        "decision_wait": DECIDE_AFTER,
        "num_traces": TRACES_UNDECIDED,
        "expected_new_traces_per_sec": 50,
        "decision_cache": {
            "sampled_cache_size": TRACES_REMEMBERED,
            "non_sampled_cache_size": TRACES_REMEMBERED,
        },
        "policies": [
            {"name": "failed", "type": "status_code", "status_code": {"status_codes": ["ERROR"]}},
            {"name": "slow", "type": "latency", "latency": {"threshold_ms": SLOW_MS}},
            {"name": "followed", "type": "string_attribute", "string_attribute": {"key": JOURNEY, "values": ["true"]}},
            {"name": "rest", "type": "probabilistic", "probabilistic": {"sampling_percentage": REST_PERCENT}},
        ],
    }


def metrics() -> Yaml:
    """Calls and durations by service, span name, kind and status, nothing else; examples lead to the traces."""
    return {
        "namespace": "traces.span.metrics",
        "histogram": {"unit": "s", "explicit": {"buckets": list(BUCKETS)}},
        "exemplars": {"enabled": True, "max_per_data_point": 2},
        "metrics_flush_interval": "5s",
        "aggregation_cardinality_limit": SERIES,
        "resource_metrics_key_attributes": ["service.name"],  # one count, also across restarts of the process
        "resource_metrics_cache_size": 100,
    }
