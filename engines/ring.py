"""
Cassandra's side of the start: one node, its cassandra.yaml, its logback.xml and its command line.

A write that was acknowledged outlives `kill -9` and a power cut: the commit log is synced before the answer (`batch`).
In Cassandra's default, `periodic`, the last 0.1 s of acknowledged writes are not read back after a kill, because a
segment is replayed up to its last marker only. No JMX port is opened: an agent inside answers Prometheus.
"""

from pathlib import Path

from engines import archives, builds, jvm
from engines.config import Config
from engines.state import State

MAIN = "org.apache.cassandra.service.CassandraDaemon"
JAMM = "jamm-0.4.0.jar"  # measures objects for Cassandra; the version that Cassandra 5.0.6 depends on

YAML = """\
cluster_name: vigie
num_tokens: 1
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
endpoint_snitch: SimpleSnitch
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters: [{{seeds: "{host}:{storage_port}"}}]
listen_address: "{host}"
storage_port: {storage_port}
rpc_address: "{host}"
native_transport_port: {port}

data_file_directories: ["{data}/data"]
commitlog_directory: "{data}/commitlog"
saved_caches_directory: "{data}/saved_caches"
hints_directory: "{data}/hints"
cdc_raw_directory: "{data}/cdc"

commitlog_sync: batch
commitlog_segment_size: 16MiB
commitlog_total_space: 256MiB
memtable_heap_space: 96MiB
memtable_offheap_space: 96MiB
file_cache_size: 32MiB
networking_cache_size: 16MiB
key_cache_size: 8MiB
concurrent_reads: 16
concurrent_writes: 32
concurrent_compactors: 1
auto_snapshot: false
"""

LOGBACK = """\
<configuration>
  <appender name="out" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d{yyyy-MM-dd'T'HH:mm:ss.SSS} %-5level %logger{0} %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="out"/></root>
</configuration>
"""

# What Cassandra reaches inside Java 17, as in its own conf/jvm17-server.options.
EXPORTS = (
    "java.base/jdk.internal.misc",
    "java.base/jdk.internal.ref",
    "java.base/sun.nio.ch",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.sql/java.sql",
    "java.base/java.lang.ref",
    "jdk.unsupported/sun.misc",
)
OPENS = (
    "java.base/java.lang.module",
    "java.base/java.net",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.util.jar",
    "jdk.management/com.sun.management.internal",
    "java.base/sun.nio.ch",
    "java.base/java.io",
    "java.base/java.lang",
    "java.base/java.lang.reflect",
    "java.base/java.nio",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
)


def folder(state: State) -> Path:
    return state.data / "cassandra"


def yaml(config: Config, state: State) -> str:
    """The whole cassandra.yaml."""
    return YAML.format(
        host=config.host,
        port=config.cassandra_port,
        storage_port=config.cassandra_storage_port,
        data=folder(state),
    )


def prepare(config: Config, state: State) -> None:
    """Write the node's configuration."""
    (state.config / "cassandra.yaml").write_text(yaml(config, state))
    (state.config / "logback.xml").write_text(LOGBACK)


def command(config: Config, state: State, java: str) -> tuple[str, ...]:
    """The command line of the node."""
    jars = builds.named("cassandra")
    return (
        *jvm.command(java, config.cassandra_heap_mb, state),
        *archives.shared_or_listed(archives.file(archives.CASSANDRA, java), archives.CASSANDRA, state),
        *options(state, state.config, jars, agent(config)),
        MAIN,
    )


def options(state: State, files: Path, jars: Path, agent: tuple[str, ...]) -> tuple[str, ...]:
    """The options of the node's Java but for its memory; `files` has its configuration, `jars` Cassandra's own."""
    return (
        f"-Djna.tmpdir={state.tmp}",
        f"-Dio.netty.native.workdir={state.tmp}",
        *(f"--add-exports={name}=ALL-UNNAMED" for name in EXPORTS),
        *(f"--add-opens={name}=ALL-UNNAMED" for name in OPENS),
        f"-javaagent:{jars / JAMM}",
        *agent,
        f"-Dlogback.configurationFile={(files / 'logback.xml').as_uri()}",
        f"-Dcassandra.config={(files / 'cassandra.yaml').as_uri()}",
        f"-Dcassandra.storagedir={folder(state)}",
        "-Dcassandra-foreground=yes",
        "-Dcassandra.skip_wait_for_gossip_to_settle=0",
        "-Dcassandra.ring_delay_ms=1",
        "-cp",
        str(jars / "*"),
    )


def agent(config: Config) -> tuple[str, ...]:
    """What answers Prometheus inside the node; nothing when nobody watches."""
    if not config.watch:
        return ()
    rules = builds.HERE / "cassandra" / "jmx.yaml"
    return (jvm.agent(builds.named("cassandra"), rules, config.host, config.cassandra_jmx_port),)
