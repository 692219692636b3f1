"""
Who we are to each store: the options that every client of it is made with, from here and nowhere else.

A password stands in a file and is read when a client is made: no value of ours holds it, so none can be logged, shown
or sent on. Java is told where it lies, not what it is. With nothing set there is no authentication.

Settings of a process that talks to a store derive from its class here, and are themselves the address to pass on.
"""

import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cassandra.auth import PlainTextAuthProvider
from cassandra.connection import DefaultEndPoint
from msgspec import Meta

from observability.settings import WrongSetting

PLAINTEXT, SASL_PLAINTEXT, SASL_SSL = SECURITIES = ("PLAINTEXT", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISM = "SCRAM-SHA-512"
USER = re.compile(r"[A-Za-z0-9._-]+")
PASSWORD = re.compile(r"[!#-\[\]-~]+")  # printable ASCII; Java's login text has no room for a space, quote or backslash
JAAS = (
    "org.apache.kafka.common.security.scram.ScramLoginModule required "
    'username="{user}" password="${{secrets:{folder}:{name}}}";'
)


class Access:
    """The base of what follows: each class checks its own settings, so that a wrong one stops the start."""

    def __post_init__(self) -> None:
        """Nothing is left to check."""


@dataclass(frozen=True, kw_only=True)
class Kafka(Access):
    """
    The brokers (comma list) and who we are to them.

    Raises:
        WrongSetting: no such security, a user without a password or the other way round, a file that is of no use.
    """

    kafka_bootstrap: str
    kafka_security: str = ""
    kafka_user: str = ""
    kafka_password_file: str = ""
    kafka_ca_file: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kafka_security not in ("", *SECURITIES):
            raise WrongSetting(f"VIGIE_KAFKA_SECURITY={self.kafka_security!r}: one of {', '.join(SECURITIES)}")
        check("KAFKA", self.kafka_user, self.kafka_password_file)
        if self.secured and not self.kafka_user:
            raise WrongSetting(f"VIGIE_KAFKA_USER: not set; VIGIE_KAFKA_SECURITY={self.kafka_security} needs a user")
        if self.kafka_user and not self.secured:
            raise WrongSetting("VIGIE_KAFKA_USER: set, though VIGIE_KAFKA_SECURITY is PLAINTEXT: nobody is asked there")
        if self.kafka_security == SASL_SSL and self.kafka_ca_file:
            try:
                ssl.create_default_context(cafile=self.kafka_ca_file)
            except OSError as error:
                raise WrongSetting(
                    f"VIGIE_KAFKA_CA_FILE={self.kafka_ca_file!r}: {error}; it must name a readable file with the "
                    "certificate (PEM) of who signed the brokers', or be blank: the system's own are then trusted"
                ) from error

    @property
    def secured(self) -> bool:
        return self.kafka_security in (SASL_PLAINTEXT, SASL_SSL)

    def kafka(self) -> dict[str, Any]:
        """
        The options of a client of kafka-python.

        Raises:
            WrongSetting: the password's file is gone.
        """
        options: dict[str, Any] = {"bootstrap_servers": self.kafka_bootstrap.split(",")}
        if self.secured:
            options |= {
                "security_protocol": self.kafka_security,
                "sasl_mechanism": MECHANISM,
                "sasl_plain_username": self.kafka_user,
                "sasl_plain_password": password("VIGIE_KAFKA_PASSWORD_FILE", self.kafka_password_file),
            }
        if self.kafka_security == SASL_SSL and self.kafka_ca_file:
            options["ssl_cafile"] = self.kafka_ca_file
        return options

    def java(self) -> dict[str, str]:
        """The properties of a Java client, which reads the password's file itself: it must be there on its machine."""
        properties = {"bootstrap.servers": self.kafka_bootstrap}
        if self.secured:
            file = Path(self.kafka_password_file).absolute()
            properties |= {
                "security.protocol": self.kafka_security,
                "sasl.mechanism": MECHANISM,
                "sasl.jaas.config": JAAS.format(user=self.kafka_user, folder=file.parent, name=file.name),
                "config.providers": "secrets",
                "config.providers.secrets.class": "org.apache.kafka.common.config.provider.DirectoryConfigProvider",
            }
        if self.kafka_security == SASL_SSL and self.kafka_ca_file:
            properties |= {
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": str(Path(self.kafka_ca_file).absolute()),
            }
        return properties


@dataclass(frozen=True, kw_only=True)
class Mongo(Access):
    """
    The document store's URI and who we are to it; a user there is one of the database `admin` unless the URI says else.

    Raises:
        WrongSetting: a user without a password or the other way round, a file that is of no use.
    """

    mongo_uri: str
    mongo_user: str = ""
    mongo_password_file: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        check("MONGO", self.mongo_user, self.mongo_password_file)

    def mongo(self, longest_s: float = 60.0, reach_s: float = 3.0) -> dict[str, Any]:
        """
        A client of pymongo's options: it waits for a command no longer than `longest_s`, for the server than `reach_s`.

        The server is not told: what takes it long needs a `maxTimeMS` as well, or it goes on there, given up by all.

        Raises:
            WrongSetting: the password's file is gone.
        """
        reach_ms = int(reach_s * 1000)
        options: dict[str, Any] = {
            "host": self.mongo_uri,
            "serverSelectionTimeoutMS": reach_ms,
            "connectTimeoutMS": reach_ms,
            "socketTimeoutMS": int(longest_s * 1000),
        }
        if self.mongo_user:
            secret = password("VIGIE_MONGO_PASSWORD_FILE", self.mongo_password_file)
            options |= {"username": self.mongo_user, "password": secret}
        return options


@dataclass(frozen=True, kw_only=True)
class Cassandra(Access):
    """
    The nodes (comma list) and who we are to them.

    Raises:
        WrongSetting: a user without a password or the other way round, a file that is of no use.
    """

    cassandra_hosts: str
    cassandra_port: Annotated[int, Meta(ge=1, le=65535)]
    cassandra_user: str = ""
    cassandra_password_file: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        check("CASSANDRA", self.cassandra_user, self.cassandra_password_file)

    def cassandra(self) -> dict[str, Any]:
        """
        The options of a cluster of cassandra-driver.

        A name is looked up at each connection: the driver's own way is once, and a node that comes back with another
        address (a container, a pod) would never be found again.

        Raises:
            WrongSetting: the password's file is gone.
        """
        options: dict[str, Any] = {
            "contact_points": [DefaultEndPoint(name, self.cassandra_port) for name in self.cassandra_hosts.split(",")],
            "port": self.cassandra_port,
            "protocol_version": 5,
        }
        if self.cassandra_user:
            secret = password("VIGIE_CASSANDRA_PASSWORD_FILE", self.cassandra_password_file)
            options["auth_provider"] = PlainTextAuthProvider(self.cassandra_user, secret)
        return options


def check(store: str, user: str, file: str) -> None:
    """
    A user and a password belong together.

    Raises:
        WrongSetting: one is missing, or of no use.
    """
    user_key, file_key = f"VIGIE_{store}_USER", f"VIGIE_{store}_PASSWORD_FILE"
    if user and not USER.fullmatch(user):
        raise WrongSetting(f"{user_key}={user!r}: letters, digits, dots, dashes and underscores only")
    if file and not user:
        raise WrongSetting(f"{user_key}: not set, though {file_key} is: set both, or neither for no authentication")
    if user and not file:
        raise WrongSetting(f"{file_key}: not set, though {user_key} is: it must name the file with the user's password")
    if file:
        password(file_key, file)


def password(key: str, file: str) -> str:
    """
    Read the password in `file`, which setting `key` names.

    Raises:
        WrongSetting: it cannot be read, is empty or is no password; its text holds nothing of the file.
    """
    try:
        found = Path(file).read_bytes().decode("latin-1")
    except OSError as error:
        raise WrongSetting(f"{key}={file!r}: {error.strerror}: it must name a file that this user may read") from error
    if not found:
        raise WrongSetting(f"{key}={file!r}: it is empty: it must hold the password")
    if not PASSWORD.fullmatch(found):
        raise WrongSetting(
            f"{key}={file!r}: it must hold the password and nothing else, no line end (write it with `printf %s`): "
            "printable ASCII without spaces, quotes and backslashes"
        )
    return found
