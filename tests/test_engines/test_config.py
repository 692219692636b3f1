"""What the settings mean: the light shape, whose the addresses are, and what a running system is remembered with."""

from collections.abc import Callable

import pytest

from engines import brokers, config, down, ring
from engines.config import Config
from engines.state import State
from observability import settings
from observability.settings import WrongSetting


def test_one_broker_takes_the_light_sizes(configured: Callable[..., Config]):
    whole, light = configured(), configured(VIGIE_BROKERS="1")
    assert (whole.brokers, whole.kafka_heap_mb, whole.cassandra_heap_mb) == (3, 384, 768)
    assert (light.brokers, light.kafka_heap_mb, light.cassandra_heap_mb) == (1, 256, 512)
    assert light.needed_memory_mb < whole.needed_memory_mb


def test_a_size_that_is_asked_for_wins_over_the_light_one(configured):
    assert configured(VIGIE_BROKERS="1", VIGIE_KAFKA_HEAP_MB="300").kafka_heap_mb == 300


def test_what_differs_from_the_file_is_what_the_other_commands_read_back(env, state: State):
    asked = config.environ(env | {"VIGIE_BROKERS": "1", "VIGIE_SEED": "it's # 1"}, running=False)
    state.keep_settings(config.own(asked), config.overrides(asked))
    later = settings.environ(env)
    assert config.overrides(asked)["VIGIE_KAFKA_BOOTSTRAP"] == "127.0.0.1:9092"
    assert config.own(later) == config.own(asked) == state.settings()


def test_a_stop_names_what_was_given_but_neither_what_follows_from_it_nor_an_address(env, state: State):
    file = {key: value for key, value in env.items() if key == "VIGIE_ENV_FILE"}
    asked = {
        "VIGIE_BROKERS": "1",
        "VIGIE_KAFKA_PORT": "9500",
        "VIGIE_RATE": "200",
        "VIGIE_MONGO_URI": "mongodb://a:b@m",
    }
    started = config.environ(file | asked, running=False)
    state.keep_settings(config.own(started), config.overrides(started))
    given = config.given(state.overrides(), file)
    assert given == asked
    assert down.dropped(given, {"VIGIE_RATE": "200"}) == (
        "\nit was started with VIGIE_BROKERS=1 VIGIE_KAFKA_PORT=9500 VIGIE_MONGO_URI=…: give them again with make up"
    )
    assert down.dropped(given, asked) == ""


def test_a_setting_that_is_no_more_does_not_hinder_the_stop(env):
    assert config.given({"VIGIE_GONE": "1", "VIGIE_RATE": "9"}, {}) == {"VIGIE_GONE": "1", "VIGIE_RATE": "9"}


def test_a_plain_start_is_remembered_with_nothing(env):
    assert config.overrides(config.environ(env, running=False)) == {}


def test_addresses_of_our_own_are_started_and_others_are_not(configured):
    mine, theirs = (
        configured(),
        configured(
            VIGIE_KAFKA_BOOTSTRAP="k:9092",
            VIGIE_CASSANDRA_HOSTS="c1,c2",
            VIGIE_MONGO_URI="mongodb://m",
            VIGIE_SOURCE_URL="https://randomuser.me/api/",
        ),
    )
    assert (mine.own_kafka, mine.own_cassandra, mine.own_documents, mine.own_source) == (True,) * 4
    assert (theirs.own_kafka, theirs.own_cassandra, theirs.own_documents, theirs.own_source) == (False,) * 4


@pytest.mark.parametrize(("key", "value"), [("VIGIE_BROKERS", "0"), ("VIGIE_KAFKA_PORT", "90000"), ("VIGIE_HOTS", "a")])
def test_a_wrong_setting_is_named(configured, key, value):
    with pytest.raises(WrongSetting, match=key):
        configured(**{key: value})


def test_three_brokers_know_each_other_and_keep_three_copies(configured, state):
    text = brokers.properties(configured(), state, 2)
    lines = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    assert lines["controller.quorum.voters"] == "1@127.0.0.1:9192,2@127.0.0.1:9193,3@127.0.0.1:9194"
    assert lines["listeners"] == "PLAINTEXT://127.0.0.1:9093,CONTROLLER://127.0.0.1:9193"
    assert (lines["node.id"], lines["default.replication.factor"], lines["min.insync.replicas"]) == ("2", "3", "2")
    assert lines["auto.create.topics.enable"] == "false"


@pytest.mark.parametrize(("count", "copies"), [(1, (1, 1)), (2, (2, 1)), (3, (3, 2)), (5, (3, 2))])
def test_copies_follow_the_number_of_brokers(count, copies):
    assert brokers.replication(count) == copies


def test_cassandra_syncs_its_commit_log_before_it_answers(configured, state):
    assert "commitlog_sync: batch\n" in ring.yaml(configured(), state)
