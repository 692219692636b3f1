"""What the brokers say, as metrics; brokers that say nothing; and the process with nobody to ask."""

import time
from dataclasses import replace
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaConnectionError, KafkaTimeoutError
from kafka.structs import OffsetAndMetadata

from observability import names
from observability.lag import Behind
from services import cluster
from services.cluster import Clients, Picture, health, look, silent
from services.exporter import samples

FIRST, SECOND = TopicPartition("users.raw", 0), TopicPartition("users.raw", 1)


def partition(n: int, leader: int = 1, in_sync: tuple[int, ...] = (1, 2, 3)) -> dict[str, Any]:
    return {"partition_index": n, "leader_id": leader, "replica_nodes": [1, 2, 3], "isr_nodes": list(in_sync)}


def topic(name: str, *partitions: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "partitions": list(partitions)}


class Brokers:
    """A cluster as both clients see it: what it says, and what fails when asked."""

    def __init__(self) -> None:
        self.brokers = [1, 2, 3]
        self.topics = [topic("users.raw", partition(0), partition(1)), topic("__consumer_offsets", partition(0))]
        self.committed = {"vigie-raw": {FIRST: 7, SECOND: 5}}
        self.ends = {FIRST: 9, SECOND: 5}
        self.fetched: list[TopicPartition] = []
        self.failing: dict[str, Exception] = {}

    def _answer(self, name: str) -> None:
        if name in self.failing:
            raise self.failing[name]

    def describe_cluster(self) -> dict[str, Any]:
        self._answer("cluster")
        fenced = [{"broker_id": 9, "is_fenced": True}]
        return {"brokers": [{"broker_id": n, "is_fenced": False} for n in self.brokers] + fenced}

    def describe_topics(self) -> list[dict[str, Any]]:
        return self.topics

    def describe_configs(self, asked: Any, config_filter: str) -> dict[str, Any]:
        self._answer("configs")
        return {"topic": {one.name: {"min.insync.replicas": {"value": "2"}} for one in asked}}

    def list_groups(self, broker_ids: list[int]) -> list[dict[str, str]]:
        assert broker_ids == self.brokers
        self._answer("groups")
        return [{"group_id": name} for name in self.committed]

    def list_group_offsets(self, groups: dict[str, None]) -> dict[str, dict[TopicPartition, OffsetAndMetadata]]:
        return {
            name: {tp: OffsetAndMetadata(offset, "", -1) for tp, offset in self.committed[name].items()}
            for name in groups
        }

    def beginning_offsets(self, places: list[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, 0)

    def end_offsets(self, places: list[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        self._answer("ends")
        return {tp: self.ends[tp] for tp in places}


def seen(brokers: Brokers, monkeypatch: Any, last: Picture | None = None) -> Picture:
    def appended(_: Any, places: dict[TopicPartition, int], patience_s: float) -> dict[TopicPartition, float]:
        brokers.fetched += places
        return dict.fromkeys(places, time.time() - 40)

    monkeypatch.setattr(cluster.lag, "_appended", appended)
    return look(Clients(brokers, brokers), last or Picture())  # type: ignore[arg-type]


def told(picture: Picture) -> dict[tuple[str, ...], float]:
    return {(metric.name, *labels.values()): value for metric, labels, value in samples(picture, 3)}


def test_everything_is_told_and_kafkas_own_topics_are_one(monkeypatch):
    found = told(seen(Brokers(), monkeypatch))
    assert found["vigie_kafka_brokers",] == found["vigie_kafka_brokers_expected",] == 3
    assert found["vigie_kafka_partitions", "users.raw", "all"] == 2
    assert found["vigie_kafka_partitions", "internal", "all"] == 1
    assert found["vigie_kafka_end_offset", "users.raw", "0"] == 9
    assert found["vigie_kafka_group_offset", "vigie-raw", "users.raw", "0"] == 7
    assert found["vigie_kafka_group_lag_records", "vigie-raw", "users.raw", "0"] == 2
    assert found["vigie_kafka_group_lag_records", "vigie-raw", "users.raw", "1"] == 0
    assert found["vigie_kafka_group_lag_seconds", "vigie-raw", "users.raw", "1"] == 0
    assert 39 < found["vigie_kafka_group_lag_seconds", "vigie-raw", "users.raw", "0"] < 45
    assert not any("__consumer_offsets" in key for key in found)
    assert time.time() - found["vigie_exporter_last_round_timestamp_seconds",] < 5


def test_a_partition_is_counted_by_each_thing_that_ails_it():
    described = [topic("t", partition(0), partition(1, 2, (1, 2)), partition(2, 3, (3,)), partition(3, -1, ()))]
    assert health(described, {"t": 2}) == {"t": {"all": 4, "under_replicated": 3, "under_min_isr": 2, "offline": 1}}


def test_when_nobody_answers_there_are_no_brokers_and_what_is_unread_goes_on_ageing(monkeypatch):
    before = seen(Brokers(), monkeypatch)
    gone = silent(before, "no answer")
    found = told(gone)
    assert found["vigie_kafka_brokers",] == 0
    assert found["vigie_kafka_partitions", "users.raw", "offline"] == 2
    assert found["vigie_exporter_last_round_timestamp_seconds",] == before.at
    key = ("vigie_kafka_group_lag_seconds", "vigie-raw", "users.raw", "0")
    later = told(replace(gone, behind={"vigie-raw": {FIRST: Behind(2, time.time() - 3600)}}))
    assert later[key] > 3590 > found[key] > 39


def test_a_part_that_fails_leaves_what_was_known_and_the_brokers_are_still_counted(monkeypatch):
    brokers = Brokers()
    before = seen(brokers, monkeypatch)
    brokers.brokers, brokers.failing["groups"] = [1, 2], KafkaTimeoutError("coordinator")
    brokers.ends = {FIRST: 12, SECOND: 5}
    after = seen(brokers, monkeypatch, before)
    assert (after.brokers, after.at, after.groups) == (2, before.at, before.groups)
    assert after.ends[FIRST] == 12  # what the topics have is told though no group is
    assert "coordinator" in after.silent


def test_what_is_gone_is_told_no_more(monkeypatch):
    brokers = Brokers()
    brokers.topics.append(topic("other", partition(0)))
    brokers.ends[TopicPartition("other", 0)] = 4
    before = seen(brokers, monkeypatch)
    assert told(before)["vigie_kafka_end_offset", "other", "0"] == 4
    brokers.topics.pop()
    brokers.committed = {}
    after = told(seen(brokers, monkeypatch, before))
    assert not any("other" in key or "vigie-raw" in key for key in after)


def test_a_partition_without_a_leader_is_not_asked_and_keeps_what_was_known(monkeypatch):
    brokers = Brokers()
    brokers.committed = {"vigie-raw": {FIRST: 7, SECOND: 3}}
    before = seen(brokers, monkeypatch)
    assert brokers.fetched == [FIRST, SECOND]
    brokers.topics[0] = topic("users.raw", partition(0), partition(1, -1, ()))
    del brokers.ends[SECOND]
    after = seen(brokers, monkeypatch, before)
    assert (after.silent, after.ends[SECOND]) == ("", 5)
    assert after.behind["vigie-raw"][SECOND].records == 2
    assert brokers.fetched == [FIRST, SECOND, FIRST]


def test_a_group_that_has_committed_nothing_has_no_lag(monkeypatch):
    brokers = Brokers()
    brokers.committed = {"new": {}, "unsure": {FIRST: -1}}
    found = seen(brokers, monkeypatch)
    assert (found.groups, found.silent) == ({"new": {}, "unsure": {}}, "")


def test_a_cluster_that_does_not_answer_is_an_error_of_the_whole_round(monkeypatch):
    brokers = Brokers()
    brokers.failing["cluster"] = KafkaConnectionError("gone")
    try:
        seen(brokers, monkeypatch)
    except KafkaConnectionError:
        return
    raise AssertionError


def test_every_health_is_in_the_names():
    for name in cluster.HEALTH:
        assert name in names.KAFKA_PARTITIONS.labels["health"]
