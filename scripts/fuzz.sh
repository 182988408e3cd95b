#!/usr/bin/env bash
# Runs the fuzz targets, or keeps what they found worth keeping: fuzz.sh run|keep [target ...]
#
# run   each target for FUZZ_SECONDS (60), one on each processor; a table at the end, and exit 1 when one has found something
# keep  writes the smallest set of inputs with the same coverage to fuzz/corpus/<target>.hex: one input a line
#
# The toolchain of the package is enough: there is no unsafe code in the readers, so no sanitizer is built in, and no nightly needed.
set -euo pipefail
cd "$(dirname "$0")/.."

pinned=0.13.2
root=$PWD/target/test-tools
seconds=${FUZZ_SECONDS:-60}
# Inputs are lists of patches; the longest that says anything new.
longest=512

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/fuzz/target}
built=$CARGO_TARGET_DIR/$(rustc -vV | sed -n 's/^host: //p')/release
work=$PWD/fuzz/target/work

is_pinned() { [ "$("$@" --version 2>/dev/null)" = "cargo-fuzz $pinned" ]; }

mkdir -p fuzz/corpus

build() {
    local fuzz=cargo-fuzz
    if ! is_pinned cargo-fuzz; then
        fuzz=$root/bin/cargo-fuzz
        if ! is_pinned "$fuzz"; then
            echo "fuzz: building cargo-fuzz $pinned, once; about two minutes on two cores"
            cargo install --quiet --locked --force --version "$pinned" --root "$root" cargo-fuzz
        fi
    fi
    "$fuzz" build --fuzz-dir fuzz --sanitizer none
}

# One line of hex an input, and back.
unpack() {
    mkdir -p "$work/$1/corpus" "$work/$1/found"
    python3 - "fuzz/corpus/$1.hex" "$work/$1/corpus" <<'PYTHON'
import hashlib, os, sys
lines = open(sys.argv[1]).read().split() if os.path.exists(sys.argv[1]) else ["00", "01", "02", "03", "04", "05"]
for line in lines:
    data = bytes.fromhex(line)
    open(os.path.join(sys.argv[2], hashlib.sha1(data).hexdigest()), "wb").write(data)
PYTHON
}

pack() {
    python3 - "$1" "$2" <<'PYTHON'
import os, sys
inputs = sorted((open(entry.path, "rb").read() for entry in os.scandir(sys.argv[1])), key=lambda data: (len(data), data))
open(sys.argv[2], "w").write("".join(data.hex() + "\n" for data in inputs if data))
PYTHON
}

one() {
    local target=$1 log=$work/$1/log status=0 result=fine
    unpack "$target"
    "$built/$target" "$work/$target/corpus" -max_total_time="$seconds" -rss_limit_mb=256 -timeout=10 -max_len="$longest" -len_control=0 \
        -print_final_stats=1 -artifact_prefix="$work/$target/found/" >"$log" 2>&1 || status=$?
    [ "$status" -eq 0 ] || result="FOUND: see $log"
    stat() { sed -n "s/^stat::$1: *//p" "$log"; }
    printf '%-16s %9s %7s %9s %7s %8s  %s\n' "$target" "$(stat number_of_executed_units)" "$(stat average_exec_per_sec)" \
        "$(grep -ao 'cov: [0-9]*' "$log" | tail -1 | cut -c6-)" "$(ls "$work/$target/corpus" | wc -l)" "$(stat peak_rss_mb)" "$result"
    return "$status"
}

keep() {
    local target=$1
    unpack "$target"
    rm -rf "$work/$target/kept"
    mkdir "$work/$target/kept"
    "$built/$target" -merge=1 -max_len="$longest" "$work/$target/kept" "$work/$target/corpus" >"$work/$target/log" 2>&1
    pack "$work/$target/kept" "fuzz/corpus/$target.hex"
    echo "fuzz: $target keeps $(wc -l <"fuzz/corpus/$target.hex") inputs"
}

act=${1:-run}
[ $# -eq 0 ] || shift
targets=("$@")
[ $# -gt 0 ] || mapfile -t targets < <(basename -s .rs fuzz/fuzz_targets/*.rs)
case "$act" in
    run)
        build
        printf '%-16s %9s %7s %9s %7s %8s  %s\n' target runs runs/s coverage inputs 'peak MiB' result
        export -f one unpack
        export built work seconds longest
        printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I {} bash -c 'set -uo pipefail; one {}' || {
            echo "fuzz: an input in fuzz/target/work/<target>/found breaks a promise; give it to the target's binary to see it again" >&2
            exit 1
        }
        ;;
    keep) build && for target in "${targets[@]}"; do keep "$target"; done ;;
    *) echo "fuzz: no '$act'; there are: run keep" >&2 && exit 2 ;;
esac
