#!/bin/sh
# Installs what the tests start besides the binary itself: an S3 server, in a Python environment under target/.
# Needs python3 with venv (Debian: python3-venv). Running it again is harmless.
set -eu
cd "$(dirname "$0")/.."

MOTO_VERSION=5.2.5
VENV=target/test-tools/venv

if "$VENV/bin/pip" show moto 2>/dev/null | grep -qx "Version: $MOTO_VERSION" && [ -x "$VENV/bin/moto_server" ]; then
    echo "test tools: moto $MOTO_VERSION is there"
    exit 0
fi
mkdir -p "$(dirname "$VENV")"
python3 -m venv "$VENV"
"$VENV/bin/pip" install --quiet --disable-pip-version-check "moto[server,s3]==$MOTO_VERSION"
echo "test tools: moto $MOTO_VERSION installed"
