# The door to all commands: `just` lists them. Each recipe is one line that also works without just;
# CONTRIBUTING.md has the same table, and ci/commands checks that the two agree.

[private]
list:
    @{{ just_executable() }} --list --unsorted

# Takes a real model through at1w: pack, read, tamper, restore
demo:
    scripts/demo.sh

# Runs the tests
test:
    scripts/test.sh

# Runs the tests of the Python package, with numpy
python:
    scripts/python.sh

# Runs the same with torch and transformers, and the tests of safetensors
python-all:
    scripts/python.sh --all

# Runs everything that must pass before a change lands
ci:
    .ci/run

# Runs everything but `ci/msrv` and advisories, before a release or a change of the format
full:
    ci/full

# Checks formatting, lints and the table of commands
lint:
    ci/lint

# Finds files of a crate that import each other in a circle
circles *CRATE:
    ci/circles {{ CRATE }}

# Builds the documentation, with warnings denied
docs:
    ci/docs

# Checks that all compiles with the oldest Rust that is promised (rustup)
msrv:
    ci/msrv

# Checks licences, sources and advisories of dependencies
deny *CHECK:
    ci/deny {{ CHECK }}

# Fetches the corpus of real weights, or the models named, into `corpus/`
corpus *MODEL:
    scripts/corpus.sh {{ MODEL }}

# Checks sizes and round trips of the whole corpus
corpus-check:
    ci/corpus

# Measures the corpus, checks totals, samples and the page in Chromium; keeps them in a folder
measure-check FOLDER='':
    ci/measure {{ FOLDER }}

# Writes the report of the corpus into `docs/MEASURE.md`, with its picture
measure-report:
    scripts/measure.sh

# Writes `docs/PROOF.md` and the proof that it is about
proof:
    scripts/proof.sh

# Writes `docs/STATEMENT.md` and its page, from models of the corpus
statement:
    scripts/statement.sh

# Measures bounds on memory and opening
limits:
    ci/limits

# Kills packing processes, fills disks, makes targets read-only
crashes KILLS='':
    ci/crashes {{ KILLS }}

# Tries every flipped bit, cut and splice of small files, in Rust, in Python and with peers
sweeps:
    ci/sweeps

# Runs the commands of `docs/REGISTRY.md`
registry:
    ci/registry

# Loses a pack of a store that is pushed to, and brings it back from a copy
drill:
    ci/drill

# Runs the examples of `docs/REMOTE.md`
remote:
    ci/remote

# Runs unmodified clients against a server; `all` of them, over a `bucket`, or `load`, `kill`, `measure`
hub *ARG:
    ci/hub {{ ARG }}

# Looks at the pages of a hub in Chromium, with axe; keeps screenshots in a folder
page FOLDER='':
    ci/page {{ FOLDER }}

# Takes the pictures of the pages for `docs/`
page-pictures:
    scripts/page.sh

# Runs the tests of a store in a bucket, on servers of S3 and Azure from PyPI and npm
bucket *KIND:
    ci/bucket {{ KIND }}

# Checks signatures against Debian's minisign
minisign:
    ci/minisign

# Checks bundles against model-signing from PyPI
model-signing:
    ci/model-signing

# Runs vLLM on the processor, with weights that are streamed to it
vllm:
    ci/vllm

# Runs tests for `aarch64` under emulation, or for `i686` with 32-bit pointers (Debian)
foreign MACHINE *ARG:
    ci/foreign {{ MACHINE }} {{ ARG }}

# Fuzzes with AddressSanitizer, each target or those named
fuzz SECONDS *TARGET:
    ci/fuzz {{ SECONDS }} {{ TARGET }}

# Measures which lines the tests run
coverage:
    ci/coverage

# Runs the suites of kernels and codec with AddressSanitizer
asan:
    ci/asan

# Prints the first tables of `docs/BENCHMARKS.md`, and that of stores
bench:
    scripts/bench.sh

# Prints the three tables of levels, over the whole corpus
bench-levels:
    scripts/bench.sh levels

# Measures at1w and its peers on the same weights
bench-peers:
    benches/peers/run.sh

# Measures loading with the Python package
bench-python:
    benches/python/run.sh

# Measures reading by URL, over lines of given rates and delays
bench-remote:
    benches/remote/run.sh

# Prints what versions cost: trained pairs, twins, and real pairs of the corpus; or two pairs, `short`
bench-versions *ARG:
    benches/versions/run.sh {{ ARG }}

# Runs criterion, to work on one kernel (after `just corpus`)
bench-kernels *ARG:
    cargo bench -p at1w-benches {{ ARG }}

# Writes the golden files anew, when the packer packs better (`version-1` stays)
bless:
    AT1W_BLESS=1 cargo test -p at1w-tests --test golden

# Builds the wheel of this system, and tries it
wheel:
    scripts/wheel.sh

# Prints the release notes of a version, or of what is not released
notes VERSION='':
    scripts/notes.sh {{ VERSION }}
