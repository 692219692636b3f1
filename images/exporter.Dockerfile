# MongoDB's exporter, which is one program and nothing else, with a shell that reads its password and asks whether it answers.
ARG BASE
ARG DEBIAN
FROM ${DEBIAN} AS shell
RUN apt-get update && apt-get install -y --no-install-recommends busybox-static

FROM ${BASE}
COPY --from=shell /bin/busybox /bin/sh
COPY --from=shell /bin/busybox /bin/wget
