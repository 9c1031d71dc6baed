# shellcheck shell=bash
# The shell functions that the commands in scripts/, ci/ and benches/ share. Each command sources
# this file first, and then runs at the root of the repository.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The folder that cargo builds into.
target=${CARGO_TARGET_DIR:-target}

# Makes a folder that is removed at the end, and sets `work` to its path.
make_work() {
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
}

# Builds the command line, and sets `at1w` to its path. With AT1W_PROFILE=dev it builds the tests as
# well: cargo compiles less when it is asked for both at once, and they are run next.
build_at1w() {
    local what=(--package at1w)
    [[ ${AT1W_PROFILE-} != dev ]] || what=(--workspace --exclude at1w-benches --bins --tests)
    cargo build --profile "${AT1W_PROFILE:-release}" --locked "${what[@]}"
    local folder=${AT1W_PROFILE:-release}
    # shellcheck disable=SC2034
    at1w=$target/${folder/dev/debug}/at1w
}

# Makes the virtual environment $1 unless it is there, and sets `python` to its interpreter.
use_venv() {
    # pip is the last thing that venv writes: an environment that was cut short is made again.
    [[ -x $1/bin/pip || -x $1/Scripts/pip.exe ]] || python3 -m venv "$1"
    python=$(cd "$1" && pwd)/bin/python
    [[ -x $python ]] || python=${python%/bin/python}/Scripts/python.exe
}

# Runs a command of pip in the environment that `use_venv` chose.
pip() {
    "$python" -m pip "$1" --quiet --disable-pip-version-check "${@:2}"
}

# Makes the environment of peers, with the packages $@ of those that benches/peers/requirements.txt
# pins. Fails where one cannot be had.
use_peers() {
    use_venv "$target/peers"
    local package
    for package in "$@"; do
        pip install "$(grep "^$package==" benches/peers/requirements.txt)" || return
    done
}

# Installs the cargo subcommand $1 unless it is there.
cargo_tool() {
    cargo "$1" --version > /dev/null 2>&1 || cargo install --locked "cargo-$1"
}

# Installs those of the Debian packages that are missing.
debian_packages() {
    local package as_root=() missing=()
    [[ $EUID -eq 0 ]] || as_root=(sudo)
    for package in "$@"; do
        dpkg-query -W -f='${Status}' "$package" 2> /dev/null | grep -q 'ok installed' ||
            missing+=("$package")
    done
    if [[ ${#missing[@]} -gt 0 ]]; then
        "${as_root[@]}" apt-get update -q
        "${as_root[@]}" apt-get install -q -y --no-install-recommends "${missing[@]}"
    fi
}
