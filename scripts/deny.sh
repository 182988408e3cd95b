#!/usr/bin/env bash
# Checks what is linked against deny.toml; builds cargo-deny under target/ when the pinned one is not there.
set -euo pipefail
cd "$(dirname "$0")/.."

pinned=0.20.2
root=target/test-tools

# The version must be the pinned one: what a newer cargo-deny refuses should come with a commit, not overnight.
is_pinned() { [ "$("$1" --version 2>/dev/null)" = "cargo-deny $pinned" ]; }

if is_pinned cargo-deny; then
    deny=cargo-deny
else
    deny=$root/bin/cargo-deny
    if ! is_pinned "$deny"; then
        echo "deny: building cargo-deny $pinned, once; about three minutes on two cores"
        cargo install --quiet --locked --force --version "$pinned" --root "$root" cargo-deny
    fi
fi

"$deny" check bans licenses sources

# The list of advisories lives on GitHub, which a build machine may not reach.
advisories=https://github.com/RustSec/advisory-db
if GIT_TERMINAL_PROMPT=0 timeout 20 git ls-remote --quiet "$advisories" HEAD >/dev/null 2>&1; then
    "$deny" check advisories
else
    echo "deny: advisories NOT checked: $advisories cannot be reached from here"
fi
