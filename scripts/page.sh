#!/usr/bin/env bash
# Takes the pictures of the pages of a hub for `docs/`, of real weights (Chromium of Debian, npm).
source "$(dirname "$0")/lib.sh"

make_work
ci/page "$work"
cp "$work/home-top.png" docs/page.png
for page in repository model tensor compare admin-usage; do
    cp "$work/$page-top.png" "docs/page-$page.png"
done
