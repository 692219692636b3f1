"""The family's way of ingestion, as its tutorials have it: a call for each user, a flush for each message."""

import json
import sys
import time
from typing import Any

import requests
from kafka import KafkaProducer

from bench.peers import job
from observability import settings


def formatted(record: dict[str, Any]) -> dict[str, Any]:
    where = record["location"]
    return {
        "id": record["login"]["uuid"],
        "first_name": record["name"]["first"],
        "last_name": record["name"]["last"],
        "gender": record["gender"],
        "address": f"{where['street']['number']} {where['street']['name']}, {where['city']}, {where['country']}",
        "post_code": where["postcode"],
        "email": record["email"],
        "username": record["login"]["username"],
        "dob": record["dob"]["date"],
        "registered_date": record["registered"]["date"],
        "phone": record["phone"],
        "picture": record["picture"]["medium"],
    }


def main(topic: str, limit_s: float) -> None:
    source = settings.environ()["VIGIE_SOURCE_URL"]
    producer = KafkaProducer(bootstrap_servers=job.brokers().split(","), max_block_ms=5000)
    began, users = time.monotonic(), 0
    while time.monotonic() - began < limit_s:
        answer = requests.get(source, timeout=10).json()["results"][0]
        producer.send(topic, json.dumps(formatted(answer)).encode())
        producer.flush()
        users += 1
    print(json.dumps({"users": users, "seconds": time.monotonic() - began}))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
