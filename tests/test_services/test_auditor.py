"""The auditor's rounds over readings of ours; and both watchers as processes with nobody to ask."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from observability import names
from services import gaps
from services.auditor import PARTS, Auditor, Seen, Settings, samples
from services.counters import Newest, of_outbox
from services.outbox import Outbox
from spark.contract import Counted, Ledger

SETTINGS = Settings(
    state=Path("/nowhere"),
    kafka_bootstrap="127.0.0.1:1",
    mongo_uri="mongodb://127.0.0.1:1",
    cassandra_hosts="127.0.0.1",
    cassandra_port=1,
    cassandra_consistency="ONE",
    users_days=0,
)


def reading(users: int, documents: int | None, outbox: str = "one") -> gaps.Reading:
    """A system at rest with so many users and documents; None: they were not counted in this round."""
    raw = Ledger(1, {0: 0}, {0: users}, Counted(), Counted(read=users, users=users, ours=users), {})
    counts = gaps.Counts(
        fetched=users, duplicates=0, rejected=0, acknowledged=users, acknowledged_dead=0, waiting=0, waiting_dead=0
    )
    look = gaps.OfOutbox(outbox, counts, looked_back=True)
    kafka = gaps.OfKafka({0: 0}, {0: users}, 0)
    return gaps.Reading(gaps.OfMongo(raw, documents, raw), gaps.OfCassandra(raw, users, raw), look, kafka, look, raw)


def judged(auditor: Auditor, *readings: gaps.Reading, first: int = 0) -> None:
    auditor.seen.silent = {}
    for n, one in enumerate(readings):
        auditor.judge(one, (first + n) * 5.0)


def test_a_gap_is_told_once_and_its_end_too(caplog):
    auditor = Auditor(SETTINGS)
    with caplog.at_level("INFO"):
        judged(auditor, *[reading(100, 99)] * 15)
    assert auditor.seen.gaps["stored"] == 1
    warnings = [one for one in caplog.records if one.levelname == "WARNING"]
    assert [(one.getMessage(), one.fields["check"], one.fields["users"]) for one in warnings] == [
        ("users are missing", "stored", 1)
    ]
    with caplog.at_level("INFO"):
        judged(auditor, reading(100, 100), first=15)
    assert auditor.seen.gaps["stored"] == 0
    assert caplog.records[-1].getMessage() == "no gap any more"


def test_an_auditor_that_has_just_begun_does_not_say_that_all_is_well():
    auditor = Auditor(SETTINGS)
    judged(auditor, *[reading(100, 99)] * 3, replace(reading(100, 99), mongo=None, raw=None), reading(100, 99))
    assert auditor.seen.gaps == {}
    judged(auditor, *[reading(100, 99)] * 15, first=5)
    assert auditor.seen.gaps == dict.fromkeys(gaps.CHECKS, 0) | {"stored": 1}


def test_a_round_without_a_count_of_documents_leaves_its_gap_as_it_was():
    auditor = Auditor(SETTINGS)
    judged(auditor, *[reading(100, 99)] * 15, reading(100, None))
    assert auditor.seen.gaps["stored"] == 1


def test_a_store_that_falls_silent_takes_no_claim_back(caplog):
    auditor = Auditor(SETTINGS)
    with caplog.at_level("INFO"):
        judged(auditor, *[reading(100, 99)] * 15, replace(reading(100, 99), mongo=None, raw=None))
    assert auditor.seen.gaps["stored"] == 1
    assert "no gap any more" not in caplog.text


def test_too_many_stay_claimed_while_the_brokers_are_silent_and_until_all_have_answered_for_a_window():
    auditor = Auditor(SETTINGS)
    deaf = replace(reading(100, 103), kafka=None)
    judged(auditor, *[reading(100, 103)] * 15, *[deaf] * 15)
    assert auditor.seen.gaps["stored"] == -3
    judged(auditor, *[reading(100, 103)] * 15, first=30)
    assert auditor.seen.gaps["stored"] == -3
    judged(auditor, *[reading(100, 100)] * 11, first=45)
    assert auditor.seen.gaps["stored"] == 0


def test_a_lane_that_is_past_the_topics_end_stays_claimed_while_the_brokers_are_silent():
    auditor = Auditor(SETTINGS)
    past = reading(100, 100)
    past = replace(past, kafka=gaps.OfKafka({0: 0}, {0: 90}, 0))
    judged(auditor, *[past] * 15, replace(past, kafka=None))
    assert auditor.seen.gaps["read_raw"] == -10


def test_the_first_answer_of_an_outbox_takes_no_claim_of_the_stores_back():
    auditor = Auditor(SETTINGS)
    mute = replace(reading(100, 99), before=None, after=None)
    judged(auditor, *[mute] * 15, reading(100, 99))
    assert auditor.seen.gaps["stored"] == 1


def test_another_outbox_begins_what_is_compared_with_it_anew_and_nothing_else():
    auditor = Auditor(SETTINGS)
    lost = reading(100, 99)
    lost = replace(lost, kafka=gaps.OfKafka({0: 0}, {0: 99}, 0))
    judged(auditor, *[lost] * 15)
    assert (auditor.seen.gaps["topic"], auditor.seen.gaps["stored"]) == (1, 1)
    judged(auditor, reading(100, 99, "two"), first=15)
    assert (auditor.seen.gaps["topic"], auditor.seen.gaps["stored"]) == (0, 1)


def test_where_users_are_removed_after_a_while_what_is_stored_is_not_compared():
    auditor = Auditor(replace(SETTINGS, users_days=30))
    judged(auditor, *[reading(100, 50)] * 15)
    assert "stored" not in auditor.seen.gaps
    assert auditor.seen.gaps["summed"] == 0


def test_a_round_with_a_silent_part_is_no_whole_round():
    auditor = Auditor(SETTINGS)
    auditor.seen.silent = {"kafka": "gone"}
    auditor.judge(reading(1, 1), 0.0)
    assert auditor.seen.last_round == 0.0
    judged(auditor, reading(1, 1), first=1)
    assert time.time() - auditor.seen.last_round < 5


def test_ages_grow_though_a_store_is_silent():
    sent = datetime.now(UTC) - timedelta(seconds=100)
    seen = Seen(newest={"mongodb": Newest(sent, sent + timedelta(seconds=3), sent)}, silent={"mongodb": "gone"})
    found = {(metric.name, *labels.values()): value for metric, labels, value in samples(seen)}
    assert found["vigie_canary_age_seconds", "mongodb"] == pytest.approx(100, abs=5)
    assert found["vigie_canary_passage_seconds", "mongodb"] == 3
    assert found["vigie_newest_user_age_seconds", "mongodb"] == pytest.approx(100, abs=5)
    assert (found["vigie_audit_silent", "mongodb"], found["vigie_audit_silent", "kafka"]) == (1, 0)
    assert not any("cassandra" in key for key in found if key[0] != "vigie_audit_silent")


def test_checks_hops_and_parts_are_those_of_the_names():
    def told(text: str) -> list[str]:
        return re.findall(r"\w+", text)

    assert told(names.AUDIT_CHECKS) == list(gaps.CHECKS)
    assert set(told(names.AUDIT_COUNT.labels["hop"])) == set(gaps.counts(reading(1, 1)))
    assert told(names.AUDIT_SILENT.labels["part"]) == list(PARTS)


def test_the_outbox_is_read_in_one_moment(tmp_path):
    path = tmp_path / "outbox.sqlite"
    outbox = Outbox(path)
    assert of_outbox(path) == gaps.OfOutbox(outbox.id, outbox.counts(), looked_back=False)
    outbox.look_from({("users.raw", 0): 0})
    assert of_outbox(path).looked_back


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(params=["auditor", "exporter"])
def alone(request, tmp_path) -> Iterator[tuple[str, str, subprocess.Popen[str]]]:
    """A watcher whose brokers and stores are not there: its name, its metrics' address, the process."""
    outer = {key: value for key, value in os.environ.items() if not key.startswith("VIGIE_")}
    port = free_port()
    ports = {f"VIGIE_{name}_PORT": str(free_port()) for name in ("KAFKA", "CASSANDRA", "MONGO")}
    own = {"VIGIE_STATE": str(tmp_path), f"VIGIE_{request.param.upper()}_METRICS_PORT": str(port), "VIGIE_BROKERS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", f"services.{request.param}"], env=outer | ports | own, stderr=subprocess.PIPE, text=True
    )
    yield request.param, f"http://127.0.0.1:{port}/metrics", process
    process.kill()
    process.communicate()


def scraped(address: str) -> dict[str, float]:
    try:
        text = requests.get(address, timeout=5).text
    except requests.ConnectionError:
        return {}
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def test_with_nobody_to_ask_a_watcher_says_so_lives_and_ends_at_once(alone):
    name, address, process = alone
    wanted = {
        "auditor": {f'vigie_audit_silent{{part="{part}"}}': 1.0 for part in PARTS}
        | {"vigie_audit_last_round_timestamp_seconds": 0.0},
        "exporter": {
            "vigie_kafka_brokers": 0.0,
            "vigie_kafka_brokers_expected": 1.0,
            "vigie_exporter_errors_total": 1.0,
            "vigie_exporter_last_round_timestamp_seconds": 0.0,
        },
    }[name]
    ends = time.monotonic() + 40
    while wanted.items() - scraped(address).items():
        assert process.poll() is None
        assert time.monotonic() < ends, wanted.items() - scraped(address).items()
        time.sleep(0.3)
    assert not any(sample.startswith("vigie_audit_gap_users") for sample in scraped(address))  # nothing is known
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert process.wait(5) == 0
    assert time.monotonic() - began < 2
    lines = [json.loads(line) for line in process.stderr]
    assert {line["service"] for line in lines} == {name}
    assert lines[-1]["event"] == "stopped"
    assert all("Traceback" not in json.dumps(line) for line in lines)
