"""Prometheus, Alertmanager and Jaeger, by their own metrics: part of the dashboard of self-monitoring."""

from grafana.panels import QUIET, Row, above, ask, lines, sampled
from grafana.promql import or_zero, quantile, rate, total

TAIL = "otelcol_processor_tail_sampling"

PROMETHEUS = Row(
    "Prometheus and Alertmanager",
    (
        lines(
            "Series in memory",
            "Level.",
            "short",
            ask(total("prometheus_tsdb_head_series"), "series"),
            ask(total("prometheus_tsdb_exemplar_exemplars_in_storage"), "exemplars"),
        ),
        lines(
            "Samples taken in",
            "Some hundred a second; level.",
            "suffix: samples/s",
            ask(rate("prometheus_tsdb_head_samples_appended_total"), "samples"),
        ),
        lines(
            "Data on disk",
            "It grows for VIGIE_PROMETHEUS_RETENTION_DAYS, then stays.",
            "bytes",
            ask(
                f"{total('prometheus_tsdb_storage_blocks_bytes')} + {total('prometheus_tsdb_wal_storage_size_bytes')}",
                "blocks and log",
            ),
        ),
        lines(
            "Rules: failures",
            "0.",
            "cps",
            ask(rate("prometheus_rule_evaluation_failures_total"), "failures"),
            ask(rate("prometheus_rule_group_iterations_missed_total"), "rounds missed"),
            limits=QUIET,
            runbook="watchers",
        ),
        lines(
            "Rules: time of a round",
            "Far below the group's interval (5 s).",
            "s",
            ask("max by (rule_group) (prometheus_rule_group_last_duration_seconds)", "{{rule_group}}"),
            limits=above(1, 4),
        ),
        lines(
            "Alerts to the Alertmanager",
            "Sent steadily (the watchdog); errors and dropped at 0.",
            "cps",
            ask(rate("prometheus_notifications_sent_total"), "sent"),
            ask(rate("prometheus_notifications_errors_total"), "errors"),
            ask(rate("prometheus_notifications_dropped_total"), "dropped"),
            runbook="watchers",
        ),
        lines(
            "Alerts in the Alertmanager",
            "One active: the watchdog.",
            "short",
            ask(total("alertmanager_alerts", "state"), "{{state}}"),
            width=12,
        ),
        lines(
            "Notifications to you",
            "Failed at 0. All at 0 without VIGIE_ALERT_WEBHOOK.",
            "cps",
            ask(rate("alertmanager_notifications_total"), "sent"),
            ask(rate("alertmanager_notifications_failed_total"), "failed"),
            width=12,
            runbook="watchers",
        ),
    ),
)

JAEGER = Row(
    "Traces",
    (
        lines(
            "Spans taken in",
            "Accepted as exported by our processes; refused at 0: then memory ran short.",
            "suffix: spans/s",
            ask(rate("otelcol_receiver_accepted_spans_total"), "accepted"),
            ask(rate("otelcol_receiver_refused_spans_total"), "refused"),
            ask(rate("otelcol_receiver_failed_spans_total"), "failed"),
            runbook="watchers",
        ),
        lines(
            "Spans kept on disk",
            "A share of what comes in: failed, slow and followed traces, and 5 % of the rest. Failed at 0.",
            "suffix: spans/s",
            ask(or_zero(rate("otelcol_exporter_sent_spans_total", where='exporter="jaeger_storage_exporter"')), "kept"),
            ask(
                or_zero(rate("otelcol_exporter_send_failed_spans_total", where='exporter="jaeger_storage_exporter"')),
                "failed",
            ),
        ),
        lines(
            "Traces by decision",
            "Sampled some a minute; dropped too early at 0: else memory is too small for 15 s of traces.",
            "suffix: traces/s",
            ask(rate(f"{TAIL}_global_count_traces_sampled_total", "decision"), "{{decision}}"),
            ask(rate(f"{TAIL}_sampling_trace_dropped_too_early_total"), "dropped too early"),
        ),
        lines(
            "Traces in memory",
            "Below 5,000; level.",
            "short",
            ask(total(f"{TAIL}_sampling_traces_on_memory"), "traces"),
            limits=above(4000, 5000),
        ),
        lines(
            "Traces on disk",
            "It grows for VIGIE_TRACE_RETENTION_HOURS, then stays.",
            "bytes",
            ask("sum(jaeger_storage_badger_size_bytes_lsm) + sum(jaeger_storage_badger_size_bytes_vlog)", "traces"),
        ),
        lines(
            "Spans by name",
            "page, GET, keep, send, process, write: each as its step goes.",
            "suffix: spans/s",
            ask(rate("traces_span_metrics_calls_total", "service_name, span_name"), "{{service_name}} {{span_name}}"),
        ),
        lines(
            "Failed spans by name",
            "0.",
            "suffix: spans/s",
            ask(
                or_zero(
                    rate("traces_span_metrics_calls_total", "span_name", 'status_code="STATUS_CODE_ERROR"'), "span_name"
                ),
                "{{span_name}}",
            ),
            width=12,
            limits=QUIET,
        ),
        lines(
            "Time of spans, p95",
            "Calls below a second, writes and batches some seconds.",
            "s",
            sampled(quantile(0.95, "traces_span_metrics_duration_seconds", "span_name"), "{{span_name}}"),
            width=12,
        ),
    ),
)
