# An official engine, with a folder that its user may write and, inside its Java, what answers Prometheus.
# BASE: the official image. OWNER: who runs it there. POM: the folder of the pom.xml that names the agent.
ARG BASE
ARG DEBIAN

FROM ${BASE} AS state
ARG OWNER
USER root
RUN mkdir /state && chown "$OWNER" /state
USER ${OWNER}

FROM ${DEBIAN} AS jars
ARG POM
RUN apt-get update && apt-get install -y --no-install-recommends maven
COPY engines/${POM}/pom.xml /build/
RUN mvn -B -q -f /build/pom.xml org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
    -DoutputDirectory=/build/jars -DincludeArtifactIds=jmx_prometheus_javaagent

FROM state AS agent
COPY --from=jars /build/jars/ /opt/vigie/
