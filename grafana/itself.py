"""The dashboard of what watches: targets, Prometheus, Alertmanager, Jaeger, and our own processes' telemetry."""

from grafana import watchers
from grafana.panels import (
    ONE,
    QUIET,
    UP_DOWN,
    ZERO,
    Board,
    Column,
    Row,
    Variable,
    above,
    ask,
    below,
    lines,
    stacked,
    stat,
    table,
    timeline,
)
from grafana.promql import age, gathered, grown, highest, of, or_zero, quantile, rate, total
from observability import names

JOB = 'job=~"$job"'
LOST = 'outcome=~"failed|dropped"'

NOW = Row(
    "Now",
    (
        stat(
            "Targets down",
            "0: every process that should answer Prometheus does.",
            "short",
            ask("count(up == 0) or on() vector(0)", "down"),
            limits=ZERO,
            runbook="watchers",
        ),
        stat(
            "Rules that fail, in the time shown",
            "0. A rule that fails is an alert that cannot fire.",
            "short",
            ask(grown("prometheus_rule_evaluation_failures_total"), "failures"),
            limits=ZERO,
            runbook="watchers",
        ),
        stat(
            "Alerts not delivered, in the time shown",
            "0: by Prometheus to the Alertmanager, or by the Alertmanager to you.",
            "short",
            ask(
                f"{grown('prometheus_notifications_dropped_total')}"
                f" + {grown('alertmanager_notifications_failed_total')}",
                "lost",
            ),
            limits=ZERO,
            runbook="watchers",
        ),
        stat(
            "The clock that is most off",
            "Below 1 s: the time of day of our processes against Prometheus's.",
            "s",
            ask(f"max(abs({names.CLOCK.name} - timestamp({names.CLOCK.name})))", "off"),
            limits=above(2, 10),
            runbook="watchers",
        ),
        stat(
            "Spans lost in the time shown",
            "0. Lost to the traces, never to the work.",
            "short",
            ask(or_zero(grown(names.SPANS, where=LOST)), "spans"),
            limits=above(1, 1000),
            runbook="watchers",
        ),
        stat(
            "Age of the auditor's round",
            "Below 15 s.",
            "s",
            ask(age(names.AUDIT_LAST_ROUND), "age"),
            limits=above(20, 60),
            runbook="watchers",
        ),
        stat(
            "Age of the exporter's round",
            "Below 15 s.",
            "s",
            ask(age(names.EXPORTER_LAST_ROUND), "age"),
            limits=above(20, 60),
            runbook="watchers",
        ),
        stat(
            "Settings in use",
            "1: every process has read the same settings. More: one was not started again after a change.",
            "short",
            ask(f"count(count by (settings) ({of(names.BUILD_INFO)}))", "settings"),
            limits=ONE,
            runbook="watchers",
        ),
        stat(
            "Disk free",
            "Above 2 GB on the disk of the state folder.",
            "bytes",
            ask(gathered("min", of(names.STATE_DISK_FREE)), "free"),
            limits=below(0.5e9, 2e9),
            runbook="watchers",
        ),
    ),
)

TARGETS = Row(
    "Targets",
    (
        timeline(
            "Targets up",
            "All up; a red gap is a restart, or a process that hangs.",
            UP_DOWN,
            ask(gathered("min", of("up", JOB), "job, broker, part"), "{{job}} {{broker}}{{part}}"),
            runbook="watchers",
        ),
        lines(
            "Time of a scrape",
            "Well below the 4 s at which it is given up.",
            "s",
            ask(highest("scrape_duration_seconds", "job", JOB), "{{job}}"),
            width=6,
            limits=above(1, 3),
        ),
        lines(
            "Samples of a scrape",
            "Level. Growth without end is a label that takes ever new values.",
            "short",
            ask(total("scrape_samples_post_metric_relabeling", "job", JOB), "{{job}}"),
            width=6,
        ),
        table(
            "What runs",
            "One version and one hash of settings for all.",
            (Column("service", "process"), Column("version", "version"), Column("settings", "settings")),
            ask(highest(names.BUILD_INFO, "service, version, settings")),
            width=8,
        ),
        stacked(
            "Spans by outcome",
            "ended as exported; failed and dropped at 0.",
            "suffix: spans/s",
            ask(or_zero(rate(names.SPANS, "job, outcome", JOB), "job"), "{{job}} {{outcome}}"),
            runbook="watchers",
        ),
        stacked(
            "Log lines by level",
            "A few; errors at 0. Suppressed ones repeated what had just been said.",
            "suffix: lines/s",
            ask(rate(names.LOG_LINES, "level, written", JOB), "{{level}} written: {{written}}"),
        ),
    ),
)

PROCESSES = Row(
    "Processes",
    (
        lines(
            "Memory",
            "Level after the first minutes, each below its bound.",
            "bytes",
            ask(total("process_resident_memory_bytes", "job", JOB), "{{job}}"),
            ask("sum(otelcol_process_memory_rss_bytes)", "jaeger"),
        ),
        lines(
            "Processor",
            "Together well below what the machine has.",
            "suffix: cores",
            ask(rate("process_cpu_seconds_total", "job", JOB), "{{job}}"),
            ask(rate("otelcol_process_cpu_seconds_total"), "jaeger"),
        ),
        lines(
            "Open files, share of what is allowed",
            "Below a half.",
            "percentunit",
            ask(f"max by (job) ({of('process_open_fds', JOB)} / {of('process_max_fds', JOB)})", "{{job}}"),
            limits=above(0.5, 0.9),
        ),
        lines(
            "Time since start",
            "It only grows; a fall is a restart.",
            "s",
            ask(f"time() - {highest('process_start_time_seconds', 'job, broker', JOB)}", "{{job}} {{broker}}"),
            width=12,
        ),
        lines(
            "Room on the disk of the state folder",
            "Level, or falling slowly; 2 GB is a ticket, half a GB a page.",
            "bytes",
            ask(gathered("min", of(names.STATE_DISK_FREE)), "free"),
            width=12,
            runbook="watchers",
        ),
    ),
)

OURS = Row(
    "Exporter, auditor, pages",
    (
        lines(
            "Time of a round, p95",
            "Below a second.",
            "s",
            ask(quantile(0.95, names.EXPORTER_ROUND_SECONDS), "exporter"),
            ask(quantile(0.95, names.AUDIT_ROUND_SECONDS), "auditor"),
            limits=above(2.5, 5),
            runbook="watchers",
        ),
        lines(
            "Rounds that failed, parts that are silent",
            "0.",
            "short",
            ask(rate(names.EXPORTER_ERRORS), "exporter's errors a second"),
            ask(highest(names.AUDIT_SILENT, "part"), "{{part}} silent to the auditor"),
            limits=QUIET,
            runbook="watchers",
        ),
        lines(
            "Time of a page",
            "p95 below a second. Empty while nobody looks.",
            "s",
            ask(or_zero(quantile(0.95, names.PAGE_SECONDS, "page"), "page"), "{{page}}"),
            limits=above(1, 3),
        ),
        lines(
            "Browsers connected",
            "As many as look.",
            "short",
            ask(or_zero(total(names.PAGE_VIEWERS)), "viewers"),
            width=12,
        ),
        lines(
            "Questions of the pages",
            "ok alone.",
            "reqps",
            ask(or_zero(rate(names.PAGE_READS, "source, outcome"), "source"), "{{source}} {{outcome}}"),
            width=12,
        ),
    ),
)

BOARD = Board(
    "vigie-self",
    "Vigie: self-monitoring",
    "Can what watches be trusted: does every process answer, do rules run, do alerts reach you, are traces kept?",
    (NOW, TARGETS, PROCESSES, watchers.PROMETHEUS, watchers.JAEGER, OURS),
    (Variable("job", "processes, as Prometheus calls them", "up"),),
)
