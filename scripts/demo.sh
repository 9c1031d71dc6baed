#!/usr/bin/env bash
# Builds at1w and takes a real trained model through it: pack, list, read one tensor, refuse a
# tampered file, restore, compare. Then packs a hub cache in place, loads from it with
# huggingface_hub and safetensors, and restores it. Needs Rust and Python; everything else is
# fetched.
source "$(dirname "$0")/lib.sh"

build_at1w
scripts/corpus.sh minilm-l6-v2
make_work
tensor=encoder.layer.3.attention.self.query.weight

sha256() { sha256sum "$1" | cut -d' ' -f1; }
expect_equal() {
    [ "$2" = "$3" ] || { echo "$1 differs: $2 and $3" >&2; exit 1; }
    echo "$1: $2, equal"
}

for model in minilm-l6-v2 minilm-l6-v2.bf16; do
    original=corpus/$model.safetensors
    packed=$work/$model.at1w
    echo
    echo "== $model: pack, list, verify"
    "$at1w" pack "$original" -o "$packed"
    "$at1w" ls "$packed" > "$work/list"
    head -n 4 "$work/list"
    echo "..."
    tail -n 1 "$work/list"
    "$at1w" verify "$packed" --file

    echo "== $model: read one tensor, verified"
    "$at1w" get "$packed" "$tensor" -o "$work/tensor.bin" --force
    listed=$(grep -F "$tensor " "$work/list" | grep -oE '[0-9a-f]{64}')
    expect_equal "SHA-256 of $tensor" "$listed" "$(sha256 "$work/tensor.bin")"
    "$at1w" get "$packed" "$tensor" --slice '0:2, :4' -o "$work/slice.npy" --force

    echo "== $model: tamper with one byte, and be refused"
    middle=$(($(wc -c < "$packed") / 2))
    cp "$packed" "$work/tampered.at1w"
    byte=$(od -An -tu1 -j "$middle" -N 1 "$packed" | tr -d ' ')
    # shellcheck disable=SC2059
    printf "\\x$(printf %02x $((byte ^ 1)))" |
        dd of="$work/tampered.at1w" bs=1 seek="$middle" conv=notrunc status=none
    if "$at1w" verify "$work/tampered.at1w"; then
        echo "the tampered file was accepted" >&2
        exit 1
    fi
    if "$at1w" unpack "$work/tampered.at1w" -o "$work/tampered.safetensors"; then
        echo "the tampered file was restored" >&2
        exit 1
    fi
    [ ! -e "$work/tampered.safetensors" ]

    echo "== $model: restore"
    "$at1w" unpack "$packed" -o "$work/restored.safetensors" --force
    expect_equal "SHA-256 of the file" \
        "$(sha256 "$original")" "$(sha256 "$work/restored.safetensors")"
done

echo
echo "== a hub cache: pack in place, load, restore"
hub=$work/hub
repo=$hub/models--sentence-transformers--all-MiniLM-L6-v2
revision=0123456789abcdef0123456789abcdef01234567
blob=$(sha256 corpus/minilm-l6-v2.bf16.safetensors)
mkdir -p "$repo/blobs" "$repo/snapshots/$revision" "$repo/refs"
cp corpus/minilm-l6-v2.bf16.safetensors "$repo/blobs/$blob"
ln -s "../../blobs/$blob" "$repo/snapshots/$revision/model.safetensors"
printf %s "$revision" > "$repo/refs/main"
before=$(du -s "$hub" | cut -f1)
"$at1w" pack --in-place --yes "$hub"
after=$(du -s "$hub" | cut -f1)
echo "disk use: $before -> $after KiB"
[ $((after * 100)) -le $((before * 68)) ]
use_venv "$target/python"
pip install --requirement python/tests/requirements.txt huggingface_hub
pip install --force-reinstall --no-deps ./python
HF_HUB_CACHE=$hub HF_HUB_OFFLINE=1 "$python" - <<'END'
from at1w import hook

hook.enable()
from huggingface_hub import hf_hub_download
from safetensors.numpy import load_file

path = hf_hub_download("sentence-transformers/all-MiniLM-L6-v2", "model.safetensors")
print(f"loaded {len(load_file(path))} tensors by way of the hook")
END
"$at1w" unpack --in-place "$hub"
expect_equal "SHA-256 of the blob" "$blob" "$(sha256 "$repo/blobs/$blob")"
echo
echo "the main job is done: everything came back as it was"
