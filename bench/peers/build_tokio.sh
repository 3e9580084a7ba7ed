#!/bin/sh
# build_tokio.sh CARGO SOURCE FOLDER: builds the crate of SOURCE from the distribution's crates alone, offline; its programs
# go to FOLDER.
set -eu
crate=$(dirname "$(dirname "$2")")
output=$(realpath -m "$3")
work=$output/tokio_build
mkdir -p "$work"
cp -r "$crate/Cargo.toml" "$crate/src" "$work"
cd "$work"
"$1" build --release --offline --quiet --target-dir "$work/target" \
  --config 'source.crates-io.replace-with="distribution"' \
  --config 'source.distribution.directory="/usr/share/cargo/registry"' >&2
cp "$work/target/release/tokio_bench" "$work/target/release/tokio_echo" "$output"
