"""
What makes an engine ask who is there: lines to put at the end of its configuration, for who starts it himself.

Kafka: users by SCRAM-SHA-512, rights by ACLs, what is not allowed is refused; brokers and the super-user are `admin`.
Controllers know each other by the same password (PLAIN: they keep what SCRAM needs, and cannot ask themselves). Both
listeners are encrypted, or none. Cassandra: roles with passwords, rights by grants.

The passwords stand in files of one folder, as `services.secrets` makes them; here is only where they lie.
"""

from pathlib import Path

LISTENERS = """\
listeners={security}://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners={security}://{host}:{port}
listener.security.protocol.map={security}:{security},CONTROLLER:{security}
inter.broker.listener.name={security}
sasl.enabled.mechanisms=SCRAM-SHA-512
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512
sasl.mechanism.controller.protocol=PLAIN
listener.name.controller.sasl.enabled.mechanisms=PLAIN
config.providers=secrets
config.providers.secrets.class=org.apache.kafka.common.config.provider.DirectoryConfigProvider
listener.name.{lower}.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule \
required username="admin" password="{password}";
listener.name.controller.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule \
required username="admin" password="{password}" user_admin="{password}";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=false
super.users=User:admin
"""

ENCRYPTED = """\
ssl.keystore.type=PEM
ssl.keystore.location={folder}/tls/{host}.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/tls/ca.pem
"""

ROLES = """\
authenticator: PasswordAuthenticator
authorizer: CassandraAuthorizer
role_manager: CassandraRoleManager
"""


def kafka(security: str, folder: Path, host: str, port: int, controller_port: int) -> str:
    """
    The end of the server.properties of the broker at `host`: SASL_PLAINTEXT or SASL_SSL.

    A new broker is formatted with `@kafka_format` of the folder, so that it knows `admin` from the first start.
    """
    lines = LISTENERS.format(
        security=security,
        lower=security.lower(),
        host=host,
        port=port,
        controller_port=controller_port,
        password=f"${{secrets:{folder}:kafka_admin_password}}",
    )
    return lines + (ENCRYPTED.format(folder=folder, host=host) if security == "SASL_SSL" else "")


def cassandra() -> str:
    """The end of cassandra.yaml."""
    return ROLES
