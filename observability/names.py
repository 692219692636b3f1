"""
Every name that telemetry may carry: metrics with their labels and units, spans with their attributes. The one place.

A metric's name ends with its unit, `_total` marks a counter. A label's values are few and known beforehand; none is a
user's id, an address or an error's text. `python -m observability.telemetry` writes docs/telemetry.md from here, and a
test holds rules, dashboards and runbooks to it.
"""

from dataclasses import dataclass, field

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"

QUICK = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds: calls and writes
# seconds: a user's whole way
SLOW = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)


@dataclass(frozen=True, eq=False)
class Metric:
    """One metric: its full name, what it counts, its labels with what each may say, a histogram's buckets (seconds)."""

    name: str
    kind: str
    help: str
    labels: dict[str, str] = field(default_factory=dict)
    buckets: tuple[float, ...] = ()


LANE = {"lane": "raw, stats"}
LANE_PLACE = LANE | {"partition": "number of the partition of users.raw"}
STORE = {"store": "mongodb, cassandra"}
TOPIC = {"topic": "users.raw, users.dlq"}
TOPIC_PLACE = {"topic": "every topic but Kafka's own", "partition": "its number"}
GROUP_PLACE = {"group": "every consumer group"} | TOPIC_PLACE

# --- every process
BUILD_INFO = Metric(
    "vigie_build_info",
    GAUGE,
    "1; what runs here",
    {"service": "the process's name", "version": "the project's", "settings": "the first 12 hex digits of their hash"},
)
CLOCK = Metric("vigie_clock_timestamp_seconds", GAUGE, "the process's time of day when it is asked")
SPANS = Metric(
    "vigie_spans_total",
    COUNTER,
    "spans by what became of them; failed and dropped ones are lost to the traces, never to the work",
    {"outcome": "ended, exported, failed (the collector did not take them), dropped (the queue was full)"},
)
LOG_LINES = Metric(
    "vigie_log_lines_total",
    COUNTER,
    "log lines by level; suppressed ones repeated one that was just written",
    {"level": "info, warning, error", "written": "yes, suppressed"},
)
RETRIES = Metric(
    "vigie_retries_total",
    COUNTER,
    "attempts after a first one that failed",
    {"what": "source, brokers, kafka, mongodb, cassandra, lane raw, lane stats, removing users"},
)

# --- ingestion: the users_* counters are the outbox's own and outlive the process
SOURCE_CALLS = Metric(
    "vigie_source_calls_total",
    COUNTER,
    "calls of the source by their end",
    {"outcome": "ok, limited (429), unavailable (time-out, 5xx, no page), refused (404 and other 4xx), breaker_open"},
)
SOURCE_CALL_SECONDS = Metric("vigie_source_call_seconds", HISTOGRAM, "how long a call of the source took", {}, QUICK)
SOURCE_BREAKER = Metric(
    "vigie_source_breaker_state",
    GAUGE,
    "1 for the state the circuit breaker is in",
    {"state": "closed, half_open, open"},
)
SOURCE_BUDGET = Metric("vigie_source_budget_left_users", GAUGE, "users that may still be asked for in this window")
SOURCE_PAUSED = Metric(
    "vigie_source_paused",
    GAUGE,
    "1 while fetching waits for this reason",
    {"reason": "budget, outbox_full"},
)
SOURCE_LAST_PAGE = Metric(
    "vigie_source_last_page_timestamp_seconds", GAUGE, "when the last page was kept; 0 before the first"
)
SOURCE_REPEATS = Metric(
    "vigie_source_repeats_total", COUNTER, "pages that brought none but known users, and were asked for again"
)
SOURCE_DONE = Metric("vigie_source_done", GAUGE, "1 when every page that VIGIE_PAGES asked for is kept")
USERS_FETCHED = Metric("vigie_users_fetched_total", COUNTER, "users that the source sent")
USERS_KNOWN = Metric("vigie_users_known_total", COUNTER, "of them known already, dropped at the door")
USERS_REJECTED = Metric("vigie_users_rejected_total", COUNTER, "of them malformed, set aside as dead letters")
REJECTIONS = Metric(
    "vigie_rejections_total",
    COUNTER,
    "records set aside since this process started, by reason",
    {"reason": "missing_field, wrong_type, out_of_range, too_large, not_json"},
)
USERS_ACKNOWLEDGED = Metric(
    "vigie_users_acknowledged_total", COUNTER, "messages that the brokers have acknowledged", TOPIC
)
OUTBOX_ROWS = Metric("vigie_outbox_rows", GAUGE, "messages that wait on disk for the brokers", TOPIC)
OUTBOX_BYTES = Metric("vigie_outbox_bytes", GAUGE, "their bytes")
OUTBOX_MAX_BYTES = Metric("vigie_outbox_max_bytes", GAUGE, "the bound at which fetching pauses")
OUTBOX_AGE = Metric("vigie_outbox_oldest_age_seconds", GAUGE, "the age of the oldest message that waits; 0 for none")
PUBLISH_SECONDS = Metric(
    "vigie_publish_seconds", HISTOGRAM, "from sending a batch to its last acknowledgement", {}, QUICK
)
CANARIES_SENT = Metric("vigie_canaries_sent_total", COUNTER, "canaries put into the outbox since this process started")

# --- the lanes
LANE_UP = Metric("vigie_lane_up", GAUGE, "1 while the lane's query runs", LANE)
LANE_RESTARTS = Metric("vigie_lane_restarts_total", COUNTER, "how often the lane's query was started again", LANE)
LANE_BATCHES = Metric("vigie_lane_batches_total", COUNTER, "micro-batches with rows", LANE)
LANE_ROWS = Metric("vigie_lane_rows_total", COUNTER, "messages read", LANE)
LANE_BATCH_SECONDS = Metric("vigie_lane_batch_seconds", HISTOGRAM, "how long a micro-batch took, whole", LANE, QUICK)
LANE_PHASE_SECONDS = Metric(
    "vigie_lane_phase_seconds_total",
    COUNTER,
    "seconds spent in each phase of micro-batches",
    LANE | {"phase": "Spark's names: addBatch, walCommit, commitOffsets, latestOffset, getBatch, queryPlanning, other"},
)
LANE_INPUT_RATE = Metric("vigie_lane_input_rows_per_second", GAUGE, "rows that arrived, of the last batch", LANE)
LANE_PROCESSED_RATE = Metric("vigie_lane_processed_rows_per_second", GAUGE, "rows worked off, of the last batch", LANE)
LANE_STATE_ROWS = Metric("vigie_lane_state_rows", GAUGE, "rows in the state store", LANE)
LANE_STATE_BYTES = Metric("vigie_lane_state_bytes", GAUGE, "memory of the state store", LANE)
LANE_SNAPSHOT_AGE = Metric(
    "vigie_lane_snapshot_age_batches",
    GAUGE,
    "batches since the state was last kept whole in the checkpoint (before the first time: since this process started)",
    LANE,
)
LANE_WATERMARK = Metric("vigie_lane_watermark_timestamp_seconds", GAUGE, "the watermark; 0 before the first", LANE)
LANE_LATE_ROWS = Metric("vigie_lane_late_rows_total", COUNTER, "rows dropped for being behind the watermark", LANE)
LANE_LAST_BATCH = Metric("vigie_lane_last_batch_timestamp_seconds", GAUGE, "when the last batch ended", LANE)
LANE_BEHIND_RECORDS = Metric("vigie_lane_behind_records", GAUGE, "messages not yet read", LANE_PLACE)
LANE_BEHIND_SECONDS = Metric(
    "vigie_lane_behind_seconds", GAUGE, "age of the oldest message not yet read; 0 when all are", LANE_PLACE
)
LANE_COMMITS_FAILED = Metric(
    "vigie_lane_commits_failed_total", COUNTER, "offset commits to the lane's consumer group that failed", LANE
)
LANE_MESSAGES = Metric(
    "vigie_lane_messages_total",
    COUNTER,
    "messages by what became of them, since this process started",
    LANE | {"outcome": "user (stored or summed), duplicate, poison, canary"},
)
STORE_WRITES = Metric("vigie_store_writes_total", COUNTER, "rows or documents that a store has taken", STORE)
STORE_ERRORS = Metric(
    "vigie_store_errors_total", COUNTER, "writes that a store did not take; they are tried again", STORE
)
STORE_WRITE_SECONDS = Metric(
    "vigie_store_write_seconds", HISTOGRAM, "how long a batch's writes to a store took", STORE, QUICK
)
END_TO_END = Metric(
    "vigie_end_to_end_seconds", HISTOGRAM, "from a user's fetch until it is in the lane's store", LANE, SLOW
)

# --- the exporter: Kafka as its clients see it
KAFKA_BROKERS = Metric("vigie_kafka_brokers", GAUGE, "brokers that are in the cluster")
KAFKA_BROKERS_EXPECTED = Metric("vigie_kafka_brokers_expected", GAUGE, "brokers that should be (VIGIE_BROKERS)")
KAFKA_PARTITIONS = Metric(
    "vigie_kafka_partitions",
    GAUGE,
    "partitions of the topic by their health",
    {
        "topic": "every topic but Kafka's own",
        "health": "all, under_replicated, under_min_isr, offline (no leader)",
    },
)
KAFKA_BEGIN_OFFSET = Metric("vigie_kafka_begin_offset", GAUGE, "the oldest offset that is kept", TOPIC_PLACE)
KAFKA_END_OFFSET = Metric("vigie_kafka_end_offset", GAUGE, "the offset of the next message", TOPIC_PLACE)
GROUP_OFFSET = Metric("vigie_kafka_group_offset", GAUGE, "the offset that the group has committed", GROUP_PLACE)
GROUP_LAG_RECORDS = Metric("vigie_kafka_group_lag_records", GAUGE, "messages that the group has not read", GROUP_PLACE)
GROUP_LAG_SECONDS = Metric(
    "vigie_kafka_group_lag_seconds", GAUGE, "age of the oldest message that the group has not read", GROUP_PLACE
)
EXPORTER_LAST_ROUND = Metric(
    "vigie_exporter_last_round_timestamp_seconds", GAUGE, "when the brokers last answered everything that was asked"
)
EXPORTER_ROUND_SECONDS = Metric("vigie_exporter_round_seconds", HISTOGRAM, "how long asking took", {}, QUICK)
EXPORTER_ERRORS = Metric("vigie_exporter_errors_total", COUNTER, "rounds that the brokers did not answer")

# --- the auditor
AUDIT_COUNT = Metric(
    "vigie_audit_count",
    GAUGE,
    "what each hop has counted since the system was first started",
    {
        "hop": "fetched, known, rejected, outbox, acknowledged, on_topic, dead_letters, read_raw, read_stats, "
        "copies_raw, copies_stats, poison_raw, poison_stats, stored, summed"
    },
)
AUDIT_CHECKS = "ingestion, topic, dead_letters, read_raw, read_stats, stored, summed"
AUDIT_GAP = Metric(
    "vigie_audit_gap_users",
    GAUGE,
    "users that this hop lacks (above 0) or has too many (below 0) and that being in flight does not explain",
    {"check": AUDIT_CHECKS},
)
AUDIT_IN_FLIGHT = Metric(
    "vigie_audit_in_flight_users", GAUGE, "the difference now, most of it on its way", {"check": AUDIT_CHECKS}
)
AUDIT_SILENT = Metric(
    "vigie_audit_silent", GAUGE, "1 while this one does not answer", {"part": "outbox, kafka, mongodb, cassandra"}
)
AUDIT_LAST_ROUND = Metric("vigie_audit_last_round_timestamp_seconds", GAUGE, "when all hops were last compared")
AUDIT_ROUND_SECONDS = Metric("vigie_audit_round_seconds", HISTOGRAM, "how long a round took", {}, QUICK)
CANARY_AGE = Metric(
    "vigie_canary_age_seconds", GAUGE, "seconds since the newest canary in this store was put into the outbox", STORE
)
CANARY_SECONDS = Metric(
    "vigie_canary_passage_seconds", GAUGE, "how long the newest canary took from the outbox to this store", STORE
)
NEWEST_USER_AGE = Metric(
    "vigie_newest_user_age_seconds", GAUGE, "seconds since the newest user in this store was fetched", STORE
)

STATE_DISK_FREE = Metric("vigie_state_disk_free_bytes", GAUGE, "room left on the disk that holds the state folder")

# --- the pages
PAGE_SECONDS = Metric(
    "vigie_page_render_seconds",
    HISTOGRAM,
    "how long a page's run took",
    {"page": "live, analyse, explore, journey, operations, boards, drills"},
    QUICK,
)
PAGE_VIEWERS = Metric("vigie_page_viewers", GAUGE, "browsers that are connected")
PAGE_READS = Metric(
    "vigie_page_reads_total",
    COUNTER,
    "questions of the pages to what they show",
    {"source": "mongodb, cassandra, prometheus, alertmanager, jaeger", "outcome": "ok, down"},
)

# --- the simulator
SIMULATOR_USERS = Metric("vigie_simulator_users_total", COUNTER, "users that the simulator has served")
SIMULATOR_REQUESTS = Metric(
    "vigie_simulator_requests_total", COUNTER, "requests by the status they were answered with", {"status": "200, …"}
)
SIMULATOR_FAULTS = Metric("vigie_simulator_faults", GAUGE, "faults that are switched on")

METRICS: tuple[Metric, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))


@dataclass(frozen=True)
class SpanName:
    """One kind of span: its name, OpenTelemetry's kind, what it covers, its attributes, and who ends it."""

    name: str
    kind: str
    covers: str
    attributes: tuple[str, ...]


# Attributes by OpenTelemetry's semantic conventions (1.38); those of our own begin with `vigie.`
ATTRIBUTES = {
    "http.request.method": "GET",
    "http.response.status_code": "the status that was answered",
    "server.address": "the source's or store's host",
    "server.port": "its port",
    "error.type": "the class of what went wrong",
    "messaging.system": "kafka",
    "messaging.operation.name": "send or process",
    "messaging.operation.type": "send or process",
    "messaging.destination.name": "the topic",
    "messaging.destination.partition.id": "the partition",
    "messaging.kafka.offset": "the offset",
    "messaging.batch.message_count": "messages in the batch",
    "messaging.consumer.group.name": "the lane's consumer group",
    "db.system.name": "sqlite, mongodb, cassandra",
    "db.namespace": "database or keyspace",
    "db.collection.name": "collection or table",
    "db.operation.name": "INSERT, insert",
    "db.operation.batch.size": "rows or documents",
    "vigie.journey": "true: the whole way of a sampled user; the collector keeps all of these",
    "vigie.lane": "raw, stats",
    "vigie.batch": "number of the micro-batch",
    "vigie.page": "number of the source's page",
    "vigie.users": "users that the page brought and were kept",
    "vigie.known": "users that were known already",
    "vigie.rejected": "records that were set aside",
    "vigie.attempt": "which attempt of the call this is, from 1",
}

PAGE = SpanName(
    "page",
    "internal",
    "a page, from the call to its commit",
    ("vigie.page", "vigie.users", "vigie.known", "vigie.rejected", "vigie.journey", "error.type"),
)
CALL = SpanName(
    "GET",
    "client",
    "one attempt of a call of the source",
    (
        "http.request.method",
        "http.response.status_code",
        "server.address",
        "server.port",
        "vigie.attempt",
        "error.type",
    ),
)
KEEP = SpanName(
    "keep",
    "client",
    "the transaction of page and cursor",
    ("db.system.name", "db.operation.name", "db.operation.batch.size", "error.type"),
)
SEND = SpanName(
    "send",
    "producer",
    "a batch from the outbox until all of it is acknowledged; also, in a journey, one user's message",
    (
        "messaging.system",
        "messaging.operation.name",
        "messaging.operation.type",
        "messaging.destination.name",
        "messaging.destination.partition.id",
        "messaging.kafka.offset",
        "messaging.batch.message_count",
        "vigie.journey",
        "error.type",
    ),
)
PROCESS = SpanName(
    "process",
    "consumer",
    "a lane's micro-batch, linked to a few of its messages; also, in a journey, one user's message within it",
    (
        "messaging.system",
        "messaging.operation.name",
        "messaging.operation.type",
        "messaging.destination.name",
        "messaging.destination.partition.id",
        "messaging.kafka.offset",
        "messaging.batch.message_count",
        "messaging.consumer.group.name",
        "vigie.lane",
        "vigie.batch",
        "vigie.journey",
        "error.type",
    ),
)
WRITE = SpanName(
    "write",
    "client",
    "the writes of a batch (in a journey: of the batch that one user was in) to a store",
    (
        "db.system.name",
        "db.namespace",
        "db.collection.name",
        "db.operation.name",
        "db.operation.batch.size",
        "vigie.lane",
        "vigie.journey",
        "error.type",
    ),
)
SPANS_NAMED = (PAGE, CALL, KEEP, SEND, PROCESS, WRITE)
