#!/bin/sh
# The image that everything is built from, made of Debian's packages and of no other image: `images/base.sh NAME`.
# As root, on Debian or Ubuntu; needs debootstrap and a Docker engine. The machine's own certificates go in, so that what
# reaches a registry through a gateway of its own here does so in a build, too.
set -eu
name=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
debootstrap --variant=minbase --include=ca-certificates bookworm "$folder/root" >"$folder/log" 2>&1 || {
    tail -n 20 "$folder/log" >&2
    exit 1
}
cp /usr/local/share/ca-certificates/*.crt "$folder/root/usr/local/share/ca-certificates/" 2>/dev/null || true
chroot "$folder/root" update-ca-certificates >/dev/null
rm -rf "$folder"/root/var/cache/apt/*.bin "$folder"/root/var/cache/apt/archives/*.deb "$folder"/root/var/lib/apt/lists/*
rm -rf "$folder"/root/usr/lib/*/gconv "$folder"/root/usr/share/doc/* "$folder"/root/usr/share/man/* "$folder"/root/usr/share/locale/*
tar -C "$folder/root" --one-file-system --exclude=./proc/* --exclude=./sys/* --exclude=./dev/* -c . | docker import - "$name"
