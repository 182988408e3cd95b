# A thin index of what can be done here; each line says how.

.DEFAULT_GOAL := help
.PHONY: help setup build demo test test-vm lint bench bench-trees bench-peers bench-tracked bench-live soak fuzz

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 22

setup: ## install the Debian packages that building and testing need (as root; otherwise says which)
	@scripts/setup.sh build test

build: ## build the release binary, target/release/icecore
	@scripts/setup.sh build
	cargo build --release --locked

demo: build ## back up and restore a small volume on this machine, step by step
	@scripts/demo.sh

test: setup ## run every test (as root, nothing is skipped)
	@scripts/test-tools.sh
	cargo test --locked --features testkit --no-fail-fast

test-vm: ## run the tests that need device-mapper, in an emulated machine with Debian's kernel
	@scripts/setup.sh build test vm
	@scripts/test-vm.sh

lint: ## format, clippy, documentation and licences, each without a warning
	cargo fmt --all --check
	cargo clippy --locked --all-targets --features testkit -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --features testkit
	@scripts/deny.sh

bench: ## measure the parts (criterion)
	cargo bench --locked --features testkit

bench-trees: build ## measure trees of small files beside restic and cp on this machine
	@scripts/bench/trees.sh

bench-peers: build ## measure side by side with restic and borg on this machine
	@scripts/setup.sh peers
	@scripts/bench-peers.sh

bench-tracked: build ## measure what tracking costs writers, and increments beside restic and borg
	@scripts/setup.sh test peers
	@scripts/bench/tracker.sh
	@scripts/bench/tracked.sh peers
	@scripts/bench/tracked.sh sparse

bench-live: build ## measure how long writers wait for live captures, under fio and PostgreSQL
	@scripts/setup.sh test
	@scripts/bench/live.sh fio
	@scripts/bench/live.sh postgres

soak: setup ## run the long random tests: those named soak_…, ignored elsewhere
	cargo test --locked --release --features testkit -- --ignored --nocapture soak_

fuzz: ## run each fuzz target for FUZZ_SECONDS (60) and print a table
	@scripts/setup.sh test
	@scripts/fuzz.sh run
