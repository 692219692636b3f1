"""KRaft: who leads the controllers, and how well the others follow its metadata. Part of the dashboard of Kafka."""

from grafana.brokers import BROKER
from grafana.panels import ZERO, Column, Row, above, ask, lines, table
from grafana.promql import highest, rate, total

KRAFT = Row(
    "KRaft: the quorum of controllers",
    (
        table(
            "State in the quorum",
            "One leader, the others followers. Candidates for more than seconds: no majority.",
            (Column("broker", "broker"), Column("state", "state")),
            ask(highest("kafka_raft_state", "broker, state", BROKER)),
            width=6,
            runbook="kafka",
        ),
        lines(
            "Leader of the quorum, as each sees it",
            "All lines on one number. -1: it knows none.",
            "none",
            ask(highest("kafka_raft_leader", "broker", BROKER), "broker {{broker}}"),
            width=6,
        ),
        lines(
            "Epoch of the quorum",
            "Flat: each step is an election.",
            "none",
            ask(highest("kafka_raft_epoch", "broker", BROKER), "broker {{broker}}"),
            width=6,
        ),
        lines(
            "Brokers, as the controller sees them",
            "Active as many as there should be, fenced 0.",
            "short",
            ask(highest("kafka_active_brokers"), "active"),
            ask(highest("kafka_fenced_brokers"), "fenced"),
            width=6,
        ),
        lines(
            "Metadata records a second",
            "A few: heartbeats of the quorum write to it, too.",
            "cps",
            ask(rate("kafka_raft_log_end_offset", "broker", BROKER), "end of the log, broker {{broker}}"),
            ask(rate("kafka_raft_high_watermark", "broker", BROKER), "high watermark, broker {{broker}}"),
            width=8,
        ),
        lines(
            "Metadata not yet applied",
            "Below a second: how far a broker's picture of the cluster is behind.",
            "s",
            ask(highest("kafka_metadata_lag_seconds", "broker", BROKER), "broker {{broker}}"),
            width=8,
            limits=above(5, 30),
            runbook="kafka",
        ),
        lines(
            "Errors with metadata",
            "0. Any other number needs the broker's log.",
            "short",
            ask(total("kafka_metadata_load_errors", "broker", BROKER), "load, broker {{broker}}"),
            ask(total("kafka_metadata_apply_errors", "broker", BROKER), "apply, broker {{broker}}"),
            ask(total("kafka_controller_metadata_errors", "broker", BROKER), "controller, broker {{broker}}"),
            width=8,
            limits=ZERO,
            runbook="kafka",
        ),
        lines(
            "Time to commit metadata",
            "Mean below 0.1 s: until most controllers have a record. Measured by the leader alone, over the last 90 s.",
            "s",
            ask(highest("kafka_raft_commit_avg_seconds"), "mean"),
            ask(highest("kafka_raft_commit_max_seconds"), "longest"),
            limits=above(0.5, 2),
            runbook="kafka",
        ),
        lines(
            "Vote of each controller",
            "The leader's number, or -1 of one that did not vote in this epoch. It changes with elections only.",
            "none",
            ask(highest("kafka_raft_vote", "broker", BROKER), "broker {{broker}}"),
        ),
        lines(
            "Traffic of the metadata log",
            "Half a kilobyte a second each way, of followers: they fetch. 0 of the leader, and of one broker alone.",
            "Bps",
            ask(
                rate("kafka_raft_channel_bytes_total", "direction, broker", BROKER), "{{direction}}, broker {{broker}}"
            ),
            limits=above(100_000, 1_000_000),
        ),
    ),
)
