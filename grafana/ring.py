"""Cassandra, as its JMX agent shows it: part of the dashboard of the stores."""

from grafana.panels import QUIET, Row, above, ask, lines
from grafana.promql import highest, rate, total

JVM = 'job="cassandra"'
HEAP = f'{JVM}, area="heap"'

CASSANDRA = Row(
    "Cassandra, as it sees itself",
    (
        lines(
            "Requests",
            "Writes as the stats lane goes, reads as pages and auditor ask.",
            "reqps",
            ask(rate("cassandra_requests_total", "request"), "{{request}}"),
        ),
        lines(
            "Time of a request: p50, p99",
            "p99 below 0.1 s. The commit log is on disk before it answers.",
            "s",
            ask(
                highest("cassandra_request_seconds", "request, quantile", 'quantile=~"0.5|0.50|0.99"'),
                "{{request}} {{quantile}}",
            ),
            limits=above(0.1, 1),
            runbook="stores",
        ),
        lines(
            "Time of a request, mean",
            "Some milliseconds.",
            "s",
            ask(
                f"{rate('cassandra_request_spent_seconds_total', 'request')}"
                f" / {rate('cassandra_requests_total', 'request')}",
                "{{request}}",
            ),
            limits=above(0.05, 0.5),
        ),
        lines(
            "Requests that failed",
            "0: timeouts, too few nodes, failures.",
            "reqps",
            ask(rate("cassandra_request_timeouts_total", "request"), "{{request}} timeouts"),
            ask(rate("cassandra_request_unavailables_total", "request"), "{{request}} unavailable"),
            ask(rate("cassandra_request_failures_total", "request"), "{{request}} failures"),
            limits=QUIET,
            runbook="stores",
        ),
        lines(
            "Dropped messages, exceptions, hints",
            "0 each.",
            "cps",
            ask(rate("cassandra_dropped_messages_total", "message"), "dropped {{message}}"),
            ask(rate("cassandra_exceptions_total"), "exceptions"),
            ask(rate("cassandra_hints_total"), "hints"),
            limits=QUIET,
            runbook="stores",
        ),
        lines(
            "Work that waits",
            "Near 0: mutations and reads in their stages, compactions, syncs of the commit log, hints.",
            "short",
            ask(highest("cassandra_stage_pending", "stage"), "{{stage}}"),
            ask(highest("cassandra_compactions_pending"), "compactions"),
            ask(highest("cassandra_commitlog_pending"), "commit log"),
            ask(highest("cassandra_hints_in_progress"), "hints"),
            limits=above(20, 200),
            runbook="stores",
        ),
        lines(
            "Data and commit log",
            "Data grows with minutes kept; the commit log stays below its bound.",
            "bytes",
            ask(total("cassandra_storage_load_bytes"), "data"),
            ask(total("cassandra_commitlog_bytes"), "commit log"),
        ),
        lines(
            "Nodes and clients",
            "No node down; some clients of each process.",
            "short",
            ask(highest("cassandra_nodes_up"), "nodes up"),
            ask(highest("cassandra_nodes_down"), "nodes down"),
            ask(total("cassandra_clients"), "clients"),
        ),
        lines("Compactions", "Bursts; not without end.", "cps", ask(rate("cassandra_compactions_total"), "done")),
        lines(
            "Heap used",
            "A saw below nine tenths of the bound.",
            "percentunit",
            ask(f"{total('jvm_memory_used_bytes', where=HEAP)} / {total('jvm_memory_max_bytes', where=HEAP)}", "heap"),
            width=6,
            limits=above(0.9, 0.97),
        ),
        lines(
            "Share of time in garbage collection",
            "Below a twentieth.",
            "percentunit",
            ask(rate("jvm_gc_collection_seconds_sum", "gc", JVM), "{{gc}}"),
            width=6,
            limits=above(0.05, 0.2),
        ),
        lines(
            "Memory",
            "Heap and half as much again.",
            "bytes",
            ask(total("process_resident_memory_bytes", where=JVM), "cassandra"),
            width=6,
        ),
        lines(
            "Processor",
            "Below half a core.",
            "suffix: cores",
            ask(rate("process_cpu_seconds_total", where=JVM), "cassandra"),
            width=6,
        ),
    ),
)
