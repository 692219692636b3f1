#!/bin/sh
# Every image of docker-compose.offline.yml, from package registries alone; what has not changed is quick.
set -eu
cd "$(dirname "$0")/.."
debian=vigie/debian:bookworm
uv=$(sed -n "s/^UV_VERSION=//p" .env)
folder=${VIGIE_IMAGES:-.vigie/images}
docker version >/dev/null || { echo "no Docker engine answers (DOCKER_HOST): start one" >&2; exit 1; }
docker image inspect "$debian" >/dev/null 2>&1 || images/base.sh "$debian"
.venv/bin/python -m engines.images --offline "$folder"
for target in services pages lanes; do
    docker build --quiet --target "$target" --build-arg "DEBIAN=$debian" --build-arg "UV_VERSION=$uv" --tag "vigie/$target" .
done
docker build --quiet --build-arg "DEBIAN=$debian" --tag vigie/engines "$folder"
