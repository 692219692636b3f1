"""The dead letters' command line where there is nobody to ask."""

import logging

import pytest
from kafka.errors import KafkaConnectionError

from services import dlq, topics


@pytest.mark.parametrize("verb", ["list", "replay"])
@pytest.mark.parametrize("error", [KafkaConnectionError("gone"), topics.TopicUnreadable("users.dlq: no such topic")])
def test_brokers_that_do_not_answer_are_told_in_one_sentence(monkeypatch, capsys, verb, error):
    def consumer(_: str) -> None:
        raise error

    monkeypatch.setattr(topics, "consumer", consumer)
    monkeypatch.setattr(dlq.logs, "start", lambda *_, **__: None)  # the other tests' loggers stay as they are
    monkeypatch.setattr(logging.getLogger("kafka"), "setLevel", lambda _: None)
    assert dlq.main([verb]) == 1
    said = capsys.readouterr().err
    assert said == f"the brokers do not give the letters (make status): {error}\n"
