#!/usr/bin/env bash
# Writes docs/STATEMENT.md, and the page docs/statement.html, from models of the corpus.
source "$(dirname "$0")/lib.sh"

build_at1w
models=(silero-vad-16k minilm-l6-v2 whisper-tiny)
scripts/corpus.sh "${models[@]}"
at1w=$(cd "$(dirname "$at1w")" && pwd)/at1w
corpus=$PWD/corpus docs=$PWD/docs
make_work
cd "$work"

# A model, and the same one rounded; with what a training run brings, and takes away again.
for model in "${models[@]}"; do
    space=lab
    [[ $model == whisper-tiny ]] && space=studio
    mkdir -p "$model"
    for version in safetensors bf16.safetensors; do
        cp "$corpus/$model.$version" "$model/model.safetensors"
        "$at1w" -q push "$model" models "$space/$model" -m "$version"
    done
done
"$at1w" -q push "$corpus/silero-vad-16k.safetensors" models lab/test
"$at1w" -q repo rm models lab/test

cat > hub.toml << 'EOF2'
[meter]
price = "2500.00"
currency = "EUR"
EOF2
# A whole month that is still to come: nothing changes in it, and every byte counts for all of it.
month=$(date -u -d "$(date -u +%Y-%m-01) +1 month" +%Y-%m-%d)
next=$(date -u -d "$month +1 month" +%Y-%m-%d)
report=(meter report models --config hub.toml --from "$month" --to "$next")
"$at1w" "${report[@]}" --html > "$docs/statement.html"
cat > "$docs/STATEMENT.md" << EOF2
# A statement

\`scripts/statement.sh\` wrote this page, and [statement.html](statement.html), which is the same to send or to print. The store has models of the corpus, each in F32 and then in BF16, in two namespaces; one that was removed is not billed. The period is a whole month in which nothing changes, so that each sum is a size times its seconds.

The configuration has the price, which is high for so few bytes:

\`\`\`toml
$(cat hub.toml)
\`\`\`

\`\`\`console
\$ at1w ${report[*]}
$("$at1w" "${report[@]}")
\`\`\`

What the sums are made of is checked by whoever can read the store:

\`\`\`console
\$ at1w meter check models
$("$at1w" meter check models)
\`\`\`

[REGISTRY.md](REGISTRY.md#9-what-it-costs) says what is counted, and what the records prove.
EOF2
