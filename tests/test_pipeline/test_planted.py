"""What is planted in a person's fields is where it is to be, masked where it is shown, and in no other output."""

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import requests

from services.contract import DEAD_LETTERS, REASON, USERS
from services.outbox_file import outbox_path
from spark.contract import DATABASE
from spark.contract import USERS as COLLECTION

pytestmark = [pytest.mark.engines, pytest.mark.timeout(300)]

PERSON = {
    "name.first": "Plantedfirst",
    "name.last": "Plantedlast",
    "email": "planted.mail@example.org",
    "phone": "0555-planted-1",
    "cell": "0555-planted-2",
    "location.street.name": "Plantedstreet",
}
SECRET = {"login.password": "planted-pass", "login.salt": "planted-salt", "id.value": "planted-document"}
WRONG = {"dob.age": "planted-age", "gender": "planted-gender", "location.street": "planted-way"}  # no user any more
PLANTED = re.compile(r"planted[-.a-z0-9]*", re.IGNORECASE)
PAGES = ("jobs/", "stages/", "storage/", "environment/", "executors/", "SQL/", "StreamingQuery/")
OF_SPARK = ("jobs", "stages", "sql?details=true&planDescription=true", "environment", "allexecutors")


def get(address: str, **asked: str) -> str:
    said = requests.get(address, asked, timeout=20)
    assert said.status_code == 200, f"{address}: {said.status_code}"
    return said.text


def plant(stack) -> None:
    """Let the source send pages with these values, one field at a time, until there are users of each."""
    for path, value in (PERSON | SECRET | WRONG).items():
        stack.faults({"set_field": {"path": path, "value": value}})
        time.sleep(1.1)  # two pages at the wanted rate
    stack.faults({})
    stack.grown("stored", 100)


def outputs(stack, user_id: str) -> Iterator[tuple[str, str]]:
    """Everything that a running system says, by where it says it."""
    at = {name: f"http://127.0.0.1:{stack.env[f'VIGIE_{name}_PORT']}" for name in ("PROMETHEUS", "JAEGER", "SPARK_UI")}
    for log in sorted(stack.state.logs.iterdir()):
        yield f"log {log.name}", log.read_text(errors="replace")
    targets = requests.get(f"{at['PROMETHEUS']}/api/v1/targets", timeout=20).json()["data"]["activeTargets"]
    assert len(targets) > 10
    for one in targets:
        yield f"metrics {one['scrapeUrl']}", get(one["scrapeUrl"])
    for path in ("series?match[]={__name__=~%22.%2B%22}", "rules", "alerts", "targets", "status/config"):
        yield f"prometheus {path}", get(f"{at['PROMETHEUS']}/api/v1/{path}")
    yield "alertmanager", get(f"http://127.0.0.1:{stack.env['VIGIE_ALERTMANAGER_PORT']}/api/v2/alerts")
    services = requests.get(f"{at['JAEGER']}/api/services", timeout=20).json()["data"]
    assert {"ingest", "spark"} <= set(services)
    for service in services:
        yield f"spans of {service}", get(f"{at['JAEGER']}/api/traces", service=service, limit="1500", lookback="1h")
    for page in PAGES:
        yield f"spark {page}", get(f"{at['SPARK_UI']}/{page}")
    (application,) = requests.get(f"{at['SPARK_UI']}/api/v1/applications", timeout=20).json()
    for path in OF_SPARK:
        yield f"spark {path}", get(f"{at['SPARK_UI']}/api/v1/applications/{application['id']}/{path}")
    for words in (
        ("engines", "status"),
        ("engines", "status", "--json"),
        ("services.hops",),
        ("services.audit",),
        ("services.journey", user_id),
        ("services.dlq", "list"),
        ("engines", "logs"),
    ):
        done = stack.run(*words)
        assert done.stdout, f"{words}: {done.stderr}"
        yield " ".join(words), done.stdout + done.stderr
    for letter in stack.messages(DEAD_LETTERS):
        if dict(letter.headers)[REASON]:
            yield "the headers of a dead letter", repr(letter.headers)


@pytest.mark.long
def test_a_persons_values_are_in_no_output_and_secrets_nowhere(stack):
    began = datetime.now(UTC)
    plant(stack)
    with stack.mongo() as client:
        documents = list(client[DATABASE][COLLECTION].find({"appended_at": {"$gte": began}}))
    found = {value for value in PERSON.values() if any(value in repr(one) for one in documents)}
    assert found == set(PERSON.values()), "it is stored, so that it could be told"
    letters = [one for one in stack.messages(DEAD_LETTERS) if b"planted-age" in (one.value or b"")]
    assert letters, "it is set aside, so that it could be told"
    held = [repr(documents), outbox_path(stack.state.root).read_bytes().decode(errors="replace")]
    held += [repr(one) for topic in (USERS, DEAD_LETTERS) for one in stack.messages(topic)]
    assert [secret for secret in SECRET.values() if any(secret in one for one in held)] == []
    of_person = next(one for one in documents if PERSON["email"] in repr(one))
    told = {where: set(PLANTED.findall(text)) for where, text in outputs(stack, of_person["_id"])}
    assert {where: values for where, values in told.items() if values} == {}
    assert len(told) > 40
    stack.audit()
