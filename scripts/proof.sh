#!/usr/bin/env bash
# Writes docs/PROOF.md, and the proof that it is about, from a model of the corpus.
source "$(dirname "$0")/lib.sh"

build_at1w
scripts/corpus.sh silero-vad-16k
at1w=$(cd "$(dirname "$at1w")" && pwd)/at1w
source=$PWD/corpus/silero-vad-16k.bf16.safetensors docs=$PWD/docs
make_work

# Prints the size of a file, with commas.
count() {
    stat -L -c %s "$1" | sed ':a; s/\([0-9]\)\([0-9]\{3\}\)\($\|,\)/\1,\2\3/; ta'
}

cd "$work"
"$at1w" -q pack "$source" -o silero.at1w
# The largest tensor, and a row of it.
name=$("$at1w" ls silero.at1w --sort size --json | grep -oP '"name": "\K[^"]+' | sed -n 1p)
"$at1w" -q proof make silero.at1w "$name" --slice 7 -o silero.proof --force
root=$("$at1w" info silero.at1w --json | grep -oP '"root": "\K[^"]+')
cp silero.proof "$docs/silero.proof"
rm silero.at1w
cat > "$docs/PROOF.md" << EOF2
# A proof

\`scripts/proof.sh\` wrote this page, and \`silero.proof\` beside it: row 7 of a tensor of silero-vad-16k in bf16, with what leads from its bytes up to the root of the model. The model has $(count "$source") bytes, and the proof $(count silero.proof). Whoever knows the root needs no more than this file:

\`\`\`console
$ at1w proof check silero.proof --root $root
$("$at1w" proof check silero.proof --root "$root")
\`\`\`

Without a root it says which one it found, and that nothing vouches for it:

\`\`\`console
$ at1w proof check silero.proof
$("$at1w" proof check silero.proof 2>&1)
\`\`\`

[FORMAT.md](FORMAT.md#19-a-proof) has its format, and [SECURITY.md](../SECURITY.md#a-proof) what is believed then. The root itself has to come from somebody who is trusted: a signature over it, a page, a log of a store.
EOF2
