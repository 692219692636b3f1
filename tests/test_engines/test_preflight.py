"""What stands in the way of a start is told before anything starts, all of it at once, with what to do."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engines import preflight, programs
from engines.config import Config
from engines.preflight import other_shape, too_little_disk, too_little_memory
from engines.programs import EMBEDDED
from engines.state import Shape, State


@pytest.fixture
def held() -> Iterator[int]:
    """A port that this process listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def told(config: Config, state: State) -> list[str]:
    planned = programs.programs(config, state, "/java", EMBEDDED)
    return preflight.held_ports(config.host, planned)


def test_a_held_port_is_told_with_its_holder_and_the_setting_that_moves_it(configured, state, held):
    sentence = next(one for one in told(configured(VIGIE_MONGO_PORT=str(held)), state) if str(held) in one)
    assert f"port {held} (VIGIE_MONGO_PORT, for documents) is held by pid {os.getpid()} (" in sentence
    assert "make up VIGIE_MONGO_PORT=" in sentence


def test_the_port_of_the_third_broker_is_looked_at_too(configured, state, held):
    assert any("for kafka-3" in one for one in told(configured(VIGIE_KAFKA_PORT=str(held - 2)), state))


def test_the_ports_of_what_is_not_started_here_are_not_asked_for(configured, state, held):
    config = configured(
        VIGIE_MONGO_PORT=str(held),
        VIGIE_MONGO_URI="mongodb://elsewhere",
        VIGIE_SIMULATOR_PORT=str(held),
        VIGIE_SOURCE_URL="https://randomuser.me/api/",
    )
    planned = programs.programs(config, state, "/java", programs.store(config, state))
    names = [one.name for one in planned if one.room != programs.WATCHERS]
    assert names == ["kafka-1", "kafka-2", "kafka-3", "cassandra", "ingest", "spark", "dashboard"]
    assert not [one for one in preflight.held_ports(config.host, planned) if str(held) in one]


@pytest.mark.parametrize(
    ("setting", "whose"),
    [
        ("VIGIE_PROMETHEUS_PORT", "prometheus"),
        ("VIGIE_OTLP_PORT", "jaeger"),
        ("VIGIE_INGEST_METRICS_PORT", "ingest"),
        ("VIGIE_SPARK_METRICS_PORT", "spark"),
        ("VIGIE_CASSANDRA_JMX_PORT", "cassandra"),
    ],
)
def test_a_held_port_of_those_who_answer_prometheus_is_told(configured, state, held, setting, whose):
    assert any(f"({setting}, for {whose})" in one for one in told(configured(**{setting: str(held)}), state))


def test_without_watchers_their_ports_are_not_asked_for(configured, state, held):
    config = configured(VIGIE_WATCH="0", VIGIE_PROMETHEUS_PORT=str(held), VIGIE_KAFKA_JMX_PORT=str(held))
    assert not [one for one in told(config, state) if f"port {held}" in one]


def test_the_ports_of_the_settings_as_they_come_are_all_different(configured, state):
    assert preflight.asked_twice(programs.programs(configured(), state, "/java", EMBEDDED)) == []


def test_two_settings_that_want_one_port_are_told(configured, state):
    config = configured(VIGIE_KAFKA_CONTROLLER_PORT="9094")
    planned = programs.programs(config, state, "/java", EMBEDDED)
    assert preflight.asked_twice(planned) == [
        "port 9094 is both VIGIE_KAFKA_CONTROLLER_PORT (kafka-1) and VIGIE_KAFKA_PORT (kafka-3)"
    ]


def test_too_little_memory_names_the_light_shape():
    assert too_little_memory(6000, free=6_100_000_000) == []
    (sentence,) = too_little_memory(6000, free=5_200_000_000)
    assert "5.2 GB of memory are free, 6.0 are needed" in sentence
    assert "make up BROKERS=1" in sentence


def test_too_little_disk_is_told_for_a_folder_that_is_not_there_yet(tmp_path: Path):
    assert too_little_disk(1, tmp_path / "not" / "there") == []
    assert "of disk are free" in too_little_disk(10**12, tmp_path / "not" / "there")[0]


def test_data_of_three_brokers_is_not_started_with_one(configured: Callable[..., Config], tmp_path: Path):
    three = Shape(brokers=3, documents=EMBEDDED, cluster="V")
    assert other_shape(configured(), three, tmp_path) == []
    (sentence,) = other_shape(configured(VIGIE_BROKERS="1"), three, tmp_path)
    assert "is of 3 broker(s), asked are 1: make up BROKERS=3" in sentence


def test_every_problem_is_told_at_once(configured, state, held):
    state.keep_shape(Shape(brokers=1, documents=EMBEDDED, cluster="V"))
    much = str(10**9)
    config = configured(VIGIE_DASHBOARD_PORT=str(held), VIGIE_NEEDED_MEMORY_MB=much, VIGIE_NEEDED_DISK_MB=much)
    found = preflight.problems(config, state, programs.programs(config, state, "/java", EMBEDDED), EMBEDDED, whole=True)
    for words in (f"port {held}", "of memory", "of disk", "is of 1 broker(s)"):
        assert any(words in one for one in found), words


@pytest.mark.parametrize(
    ("asked", "elsewhere"),
    [
        ({"KAFKA_SECURITY": "SASL_PLAINTEXT", "KAFKA_USER": "me"}, "KAFKA_BOOTSTRAP"),
        ({"CASSANDRA_USER": "me"}, "CASSANDRA_HOSTS"),
        ({"MONGO_USER": "me"}, "MONGO_URI"),
    ],
)
def test_a_user_is_refused_where_the_engine_started_here_would_ask_nobody(configured, state, asked, elsewhere):
    password = state.root / "password"
    password.write_text("secret")
    store = elsewhere.split("_")[0]
    asked = {f"VIGIE_{key}": value for key, value in asked.items()} | {f"VIGIE_{store}_PASSWORD_FILE": str(password)}
    (told,) = preflight.users_of_nobody(configured(**asked))
    assert told.startswith(f"{next(iter(asked))} is set")
    address = {f"VIGIE_{elsewhere}": "mongodb://elsewhere" if store == "MONGO" else "elsewhere:1"}
    assert preflight.users_of_nobody(configured(**asked, **address)) == []
