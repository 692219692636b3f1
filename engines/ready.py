"""Does it answer? One question to each engine, in its own protocol, with an end; any refusal is a no."""

import http.client
import re
import socket
from collections.abc import Callable
from contextlib import closing

import pymongo
from kafka import KafkaAdminClient
from kafka.errors import KafkaError
from pymongo.errors import PyMongoError

from observability import access, names

PATIENCE_S = 2.0
CQL_OPTIONS = bytes([4, 0, 0, 0, 5, 0, 0, 0, 0])  # protocol 4, stream 0, OPTIONS, no body
CQL_SUPPORTED = 6

LANES = set(names.LANE["lane"].split(", "))

Check = Callable[[], bool]


def port(host: str, number: int) -> bool:
    """Something accepts connections there."""
    try:
        with socket.create_connection((host, number), timeout=PATIENCE_S):
            return True
    except OSError:
        return False


def cassandra(host: str, number: int) -> bool:
    """A Cassandra answers on its native port."""
    try:
        with socket.create_connection((host, number), timeout=PATIENCE_S) as connection:
            connection.sendall(CQL_OPTIONS)
            answer = connection.recv(9)
    except OSError:
        return False
    return len(answer) > 4 and answer[4] == CQL_SUPPORTED


def documents(uri: str) -> bool:
    """A MongoDB server answers a ping."""
    client: pymongo.MongoClient[dict[str, object]] = pymongo.MongoClient(
        uri, serverSelectionTimeoutMS=int(PATIENCE_S * 1000), connect=False
    )
    try:
        with client:
            client.admin.command("ping")
    except PyMongoError:
        return False
    return True


def kafka(brokers: access.Kafka) -> bool:
    """The cluster has all of these brokers and knows its controller."""
    try:
        admin = KafkaAdminClient(**brokers.kafka(), request_timeout_ms=int(PATIENCE_S * 2000))
    except (KafkaError, OSError):
        return False
    try:
        cluster = admin.describe_cluster()
    except (KafkaError, OSError):
        return False
    finally:
        admin.close()
    return len(cluster["brokers"]) >= len(brokers.kafka_bootstrap.split(",")) and cluster["controller_id"] >= 0


def lanes(host: str, number: int) -> bool:
    """Both lanes have had a batch with rows since their start, as they tell Prometheus on this port."""
    try:
        with closing(http.client.HTTPConnection(host, number, timeout=PATIENCE_S)) as connection:
            connection.request("GET", "/metrics")
            said = connection.getresponse().read().decode()
    except (OSError, http.client.HTTPException):
        return False
    counted = re.findall(rf'^{names.LANE_BATCHES.name}{{lane="(\w+)"}} (\S+)$', said, re.MULTILINE)
    return {lane for lane, batches in counted if float(batches)} == LANES
