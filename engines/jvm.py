"""
How a Java engine is started: its heap, little else in memory, and nothing left in the system's temporary folder.

Only the first compiler (C1) and the serial collector: on two cores three brokers were up with 6.5 s of processor time
instead of 11, took 1.3 s instead of 2.3 for 30,000 messages, and 20 MB less each; Cassandra was up with 4 s, not 6.
"""

from pathlib import Path

from engines.state import State

LEAN = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData")
AGENT = "jmx_prometheus_javaagent-1.0.1.jar"  # the version of the poms


def command(java: str, heap_mb: int, state: State) -> tuple[str, ...]:
    """
    The start of a command line: the Java of this JAVA_HOME and the options of every engine.

    Half of the heap is taken at the start: else a broker seems to grow for an hour, and a machine that has not so much
    memory says so only then.
    """
    heap = (f"-Xmx{heap_mb}m", f"-Xms{heap_mb // 2}m", "-XX:+AlwaysPreTouch", "-XX:+ExitOnOutOfMemoryError")
    return (f"{java}/bin/java", *heap, *lean(state))


def lean(state: State) -> tuple[str, ...]:
    """What saves processor time and memory, and keeps temporary files inside the state folder."""
    return (*LEAN, f"-Djava.io.tmpdir={state.tmp}")


def agent(jars: Path, rules: Path, host: str, port: int) -> str:
    """The option that makes a Java engine answer Prometheus on a port, with the beans that `rules` names."""
    return f"-javaagent:{jars / AGENT}={host}:{port}:{rules}"
