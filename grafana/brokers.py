"""The brokers, as each one's JMX agent shows it: part of the dashboard of Kafka."""

from grafana.panels import NOTED, QUIET, ZERO, Row, above, ask, below, lines, stacked
from grafana.promql import gathered, highest, of, rate, total

BROKER = 'broker=~"$broker"'
JVM = f'job="kafka", {BROKER}'
HEAP = f'{JVM}, area="heap"'

TRAFFIC = Row(
    "Brokers: traffic",
    (
        lines(
            "Messages in, by broker",
            "Even: leaders are spread over the brokers.",
            "suffix: messages/s",
            ask(rate("kafka_messages_in_total", "broker", BROKER), "broker {{broker}}"),
        ),
        lines(
            "Bytes in, by broker",
            "A kilobyte or two for each message.",
            "Bps",
            ask(rate("kafka_bytes_in_total", "broker", BROKER), "broker {{broker}}"),
        ),
        lines(
            "Bytes out, by broker",
            "Twice what comes in: two lanes read it. More while a backlog drains.",
            "Bps",
            ask(rate("kafka_bytes_out_total", "broker", BROKER), "broker {{broker}}"),
        ),
        lines(
            "Requests, by kind",
            "Steady; Fetch mostly by replicas and lanes that wait for messages.",
            "reqps",
            ask(rate("kafka_requests_total", "request", BROKER), "{{request}}"),
        ),
        lines(
            "Failed requests, by kind",
            "0. Failed produces are below min ISR, failed fetches lost leaders.",
            "reqps",
            ask(rate("kafka_failed_requests_total", "request", BROKER), "{{request}}"),
            limits=QUIET,
            runbook="kafka",
        ),
        lines(
            "Time of a request, p99",
            "Produce below 0.1 s; FetchConsumer up to the 0.5 s that a consumer lets the broker wait for messages.",
            "s",
            ask(highest("kafka_request_seconds", "request, broker", BROKER), "{{request}} broker {{broker}}"),
            limits=above(1, 5),
            runbook="kafka",
        ),
        lines(
            "Timed requests",
            "Produce as publishing goes, FetchConsumer as the lanes ask.",
            "reqps",
            ask(rate("kafka_timed_requests_total", "request, broker", BROKER), "{{request}} broker {{broker}}"),
        ),
        lines(
            "Request handlers idle",
            "Above 0.7. Near 0 the broker is at its limit.",
            "percentunit",
            ask(highest("kafka_request_handler_idle_ratio", "broker", BROKER), "broker {{broker}}"),
            limits=below(0.3, 0.5),
            runbook="kafka",
        ),
        lines(
            "Network threads idle, by listener",
            "Above 0.7, the busiest of each. Near 0 requests wait to be read. It climbs for a minute after a start.",
            "percentunit",
            ask(
                gathered("min", of("kafka_network_processor_idle_ratio", BROKER), "listener, broker"),
                "{{listener}} broker {{broker}}",
            ),
            limits=below(0.3, 0.5),
            runbook="kafka",
        ),
        lines(
            "Connections, by listener",
            "Steady, tens. PLAINTEXT: clients and brokers; CONTROLLER: brokers. A climb: a client that never closes.",
            "short",
            ask(total("kafka_connections", "listener, broker", BROKER), "{{listener}} broker {{broker}}"),
            width=12,
            limits=above(200, 1000),
        ),
        stacked(
            "Size of the log, by topic",
            "All replicas. It grows up to retention; compare with the disk's free space.",
            "bytes",
            ask(total("kafka_log_size_bytes", "topic", BROKER), "{{topic}}"),
            width=12,
        ),
    ),
)

REPLICAS = Row(
    "Brokers: replicas",
    (
        lines(
            "Leaders by broker",
            "Even. A broker without leaders has just come back, or is not in the in-sync set.",
            "short",
            ask(total("kafka_leaders", "broker", BROKER), "broker {{broker}}"),
            width=6,
        ),
        lines(
            "Replicas by broker",
            "Even and steady.",
            "short",
            ask(total("kafka_partitions", "broker", BROKER), "broker {{broker}}"),
            width=6,
        ),
        lines(
            "Under-replicated and below min ISR, by broker",
            "0 each: as the leader sees it, some seconds before the exporter does.",
            "short",
            ask(total("kafka_under_replicated_partitions", "broker", BROKER), "under-replicated, broker {{broker}}"),
            ask(total("kafka_under_min_isr_partitions", "broker", BROKER), "below min ISR, broker {{broker}}"),
            ask(total("kafka_offline_partitions", "broker", BROKER), "offline, broker {{broker}}"),
            width=6,
            limits=ZERO,
            runbook="kafka",
        ),
        lines(
            "In-sync set: shrinks and expansions",
            "0. Each shrink without a restart is a replica that could not keep up.",
            "cps",
            ask(rate("kafka_isr_shrinks_total", "broker", BROKER), "shrinks, broker {{broker}}"),
            ask(rate("kafka_isr_expands_total", "broker", BROKER), "expansions, broker {{broker}}"),
            width=6,
            limits=QUIET,
            runbook="kafka",
        ),
        lines(
            "At min ISR, by broker",
            "0: one more replica lost and writes stop. Of one broker (BROKERS=1) all partitions, always.",
            "short",
            ask(total("kafka_at_min_isr_partitions", "broker", BROKER), "broker {{broker}}"),
            limits=NOTED,
            runbook="kafka",
        ),
        lines(
            "Unclean leader elections",
            "0: Kafka forbids them unless told. Each one lost the messages that the new leader did not have.",
            "cps",
            ask(rate("kafka_unclean_leader_elections_total", "broker", BROKER), "broker {{broker}}"),
            limits=QUIET,
            runbook="kafka",
        ),
        lines(
            "Leaders away from their preferred broker",
            "0, but for some minutes after a broker's restart: Kafka then moves them back.",
            "short",
            ask(highest("kafka_unpreferred_leaders"), "partitions"),
            limits=NOTED,
            runbook="kafka",
        ),
    ),
)

MACHINE = Row(
    "Brokers: JVM and process",
    (
        lines(
            "Heap used",
            "A saw below nine tenths of the bound.",
            "percentunit",
            ask(
                f"{total('jvm_memory_used_bytes', 'broker', HEAP)} / {total('jvm_memory_max_bytes', 'broker', HEAP)}",
                "{{broker}}",
            ),
            limits=above(0.9, 0.97),
        ),
        lines(
            "Share of time in garbage collection",
            "Below a twentieth.",
            "percentunit",
            ask(rate("jvm_gc_collection_seconds_sum", "broker", JVM), "broker {{broker}}"),
            limits=above(0.05, 0.2),
        ),
        lines(
            "Garbage collections",
            "About one in some seconds, nearly all of them of the young.",
            "cps",
            ask(rate("jvm_gc_collection_seconds_count", "broker, gc", JVM), "{{gc}}, broker {{broker}}"),
        ),
        lines(
            "Threads",
            "Steady.",
            "short",
            ask(total("jvm_threads_current", "broker", JVM), "broker {{broker}}"),
            width=6,
        ),
        lines(
            "Memory",
            "Heap and half as much again; steady after the first minutes.",
            "bytes",
            ask(total("process_resident_memory_bytes", "broker", JVM), "broker {{broker}}"),
            width=6,
        ),
        lines(
            "Processor",
            "A tenth of a core or two.",
            "suffix: cores",
            ask(rate("process_cpu_seconds_total", "broker", JVM), "broker {{broker}}"),
            width=6,
        ),
        lines(
            "Open files",
            "Far below the limit; two or three for each segment and connection.",
            "short",
            ask(total("process_open_fds", "broker", JVM), "broker {{broker}}"),
            width=6,
        ),
    ),
)
