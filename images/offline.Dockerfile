# Every engine in one image, for docker-compose.offline.yml: what engines.fetch has fetched as jars and built from Go,
# where the official images have it.
ARG DEBIAN
FROM ${DEBIAN}
RUN apt-get update && apt-get install -y --no-install-recommends openjdk-17-jre-headless busybox \
    && ln -s /bin/busybox /usr/bin/wget \
    && rm -rf /var/lib/apt/lists/* /usr/share/doc /var/cache/apt \
    && useradd --uid 10001 --create-home vigie && install -d -o vigie /state /prometheus /alertmanager
COPY root/ /
USER vigie
