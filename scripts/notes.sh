#!/usr/bin/env bash
# Prints the release notes of a version, or of what is not released yet, from CHANGELOG.md.
#
#     scripts/notes.sh [VERSION]
source "$(dirname "$0")/lib.sh"

version=${1:-Unreleased}
if [[ $version != Unreleased ]] && ! grep -qxF "version = \"$version\"" Cargo.toml; then
    echo "Cargo.toml has another version than $version: set it there, or release that one" >&2
    exit 1
fi
notes=$(awk -v title="## $version" '/^## / { ours = $0 == title; next } ours' CHANGELOG.md)
if [[ -z $notes ]]; then
    echo "CHANGELOG.md has no section \"## $version\": rename \"## Unreleased\" to it" >&2
    exit 1
fi
echo "$notes"
