# Our images: `services` (ingestion, simulator, auditor, exporter, jobs), `pages` (Streamlit, drills), `lanes` (Spark).
# Dependencies first, as uv.lock says; a changed line of code makes only the last two layers anew.
ARG DEBIAN=debian:bookworm-slim

FROM ${DEBIAN} AS python
RUN apt-get update && apt-get install -y --no-install-recommends python3 ca-certificates \
    && rm -rf /var/lib/apt/lists/* /usr/share/doc /var/cache/apt \
    && useradd --uid 10001 --create-home vigie && install -d -o vigie /state /state/drills \
    && install -d -o vigie -g vigie -m 750 /secrets
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1

FROM python AS build
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv maven binutils
ARG UV_VERSION
RUN python3 -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir "uv==${UV_VERSION}"
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt UV_PROJECT_ENVIRONMENT=/opt/venv UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_NO_CACHE=1 UV_PYTHON=/usr/bin/python3
COPY pyproject.toml uv.lock images/slim.sh /build/
WORKDIR /build

FROM build AS code
COPY observability /build/observability
COPY services /build/services
COPY spark /build/spark
COPY dashboard /build/dashboard
COPY chaos /build/chaos
COPY engines/*.py /build/engines/
COPY grafana/*.py /build/grafana/
COPY README.md .env /build/
# where alerts go is often a secret, and none of our processes sends them
RUN /opt/uv/bin/uv pip install --no-deps --target /app . && sed 's/^VIGIE_ALERT_WEBHOOK=.*/VIGIE_ALERT_WEBHOOK=/' .env >/app/.env
COPY .streamlit /app/.streamlit
COPY grafana/dashboards /app/grafana/dashboards
COPY docs/runbooks /app/docs/runbooks

FROM build AS build-services
RUN /opt/uv/bin/uv sync --frozen --no-default-groups --no-install-project && ./slim.sh

FROM python AS services
COPY --from=build-services /opt/venv /opt/venv
COPY --from=code /app /app
USER vigie
WORKDIR /app

FROM build AS build-pages
# pages show no pictures and make no secrets; time zones are Debian's
RUN /opt/uv/bin/uv sync --frozen --no-default-groups --group pages --group drills --no-install-project \
    --no-install-package pillow --no-install-package cryptography --no-install-package tzdata && ./slim.sh

FROM python AS pages
COPY --from=build-pages /opt/venv /opt/venv
COPY --from=code /app /app
USER vigie
WORKDIR /app

FROM build AS build-lanes
COPY engines/spark/pom.xml /build/
RUN mvn -B -q -f /build/pom.xml org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
    -DoutputDirectory=/opt/jars
RUN /opt/uv/bin/uv sync --frozen --no-default-groups --group lanes --no-install-project && ./slim.sh

# Spark without Hive, machine learning, Kubernetes, a second master, its shell and its remote client: a quarter of its jars.
RUN cd /opt/venv/lib/python3*/site-packages/pyspark/jars && rm -f spark-mllib_* spark-graphx_* breeze* spire* cats-* \
    lapack* blas* arpack* algebra_* kubernetes-* spark-kubernetes* spark-connect_* scala-compiler* spark-repl_* jline* \
    spark-hive* hive-[a-r]* hive-se* hive-shims* datanucleus-* derby* jdo-* vertx-* zookeeper-* \
    curator-* *-osx-*.jar *-windows-*.jar

FROM python AS lanes
RUN apt-get update && apt-get install -y --no-install-recommends openjdk-17-jre-headless \
    && rm -rf /var/lib/apt/lists/* /usr/share/doc /var/cache/apt /usr/lib/jvm/*/lib/server/classes_nocoops.jsa
COPY --from=build-lanes /opt/jars /opt/jars
COPY --from=build-lanes /opt/venv /opt/venv
COPY --from=code /app /app
ENV VIGIE_SPARK_JARS=/opt/jars PYSPARK_PYTHON=/opt/venv/bin/python
USER vigie
WORKDIR /app
