#!/usr/bin/env bash
# docs.sh [TO, build/docs if not given]: the reference, by Doxygen from the public headers. A warning of its is an error,
# a class without a comment too; members may be as plain as their names.
source "$(dirname "$0")/common.sh"
to=${1:-$root/build/docs}
COIR_VERSION=$(sed -n "s/^ *version: '\(.*\)',$/\1/p" "$root/meson.build")
mkdir -p "$to"
COIR_DOCS=$(realpath "$to")
export COIR_VERSION COIR_DOCS
cd "$root"
rm -rf "$COIR_DOCS/html"
doxygen docs/Doxyfile >"$COIR_DOCS/log" 2>&1 || { cat "$COIR_DOCS/log" >&2; exit 1; }
if grep -vE '^$|: Member .* is not documented\.$' "$COIR_DOCS/log" >&2; then fail "Doxygen has warnings"; fi
pages=$(find "$COIR_DOCS/html" -name 'classcoir_*.html' | wc -l)
[ "$pages" -gt 100 ] || fail "only $pages pages of classes: were the headers read?"
echo "$COIR_DOCS/html/index.html"
