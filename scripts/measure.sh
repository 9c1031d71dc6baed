#!/usr/bin/env bash
# Measures the corpus at every level and beside other compressors: seven minutes and more. Writes the
# report into docs/MEASURE.md, and its picture to docs/measure.png (Chromium of Debian, npm, zipnn of
# PyPI where it can be had).
source "$(dirname "$0")/lib.sh"

build_at1w
scripts/corpus.sh
debian_packages chromium
command -v npm > /dev/null || debian_packages nodejs npm
make_work
PATH=$(cd "$(dirname "$at1w")" && pwd):$PATH
against=xz,zstd
if use_peers numpy zipnn; then
    against+=,zipnn
    PATH=$(dirname "$python"):$PATH
else
    echo "zipnn cannot be had: the report is without it" >&2
fi

# The command that the report shows is the one that was run.
ln -s "$PWD/corpus" "$work/corpus"
(cd "$work" && at1w --quiet measure corpus/ --level fast,default,max --against "$against" \
    --price USD:23 -o report.html -o report.json -o report.md)
cp tests/browser/* "$work"
npm install --prefix "$work" --no-audit --no-fund --loglevel=error
node "$work/report.mjs" "$work/report.html" "$work/report.json" "$work"
cp "$work/top.png" docs/measure.png

mark='<!-- scripts/measure.sh writes what follows. -->'
sed -i "\\#^$mark\$#q" docs/MEASURE.md
{ echo && sed 's/^#/##/' "$work/report.md"; } >> docs/MEASURE.md
