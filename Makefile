# creel: build, test and install. `make help` lists the targets.

# Bash with errors in pipes counted; and because it is not make's default
# shell, commands are found by the PATH exported below.
SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# integration/setup puts the Go that go.mod asks for here, where the machine
# has none or an older one.
GOVERSION := $(shell awk '$$1 == "go" {print $$2}' go.mod)
export PATH := /usr/local/lib/go$(GOVERSION)/bin:$(PATH):/usr/local/go/bin

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -X github.com/creel-sandbox/creel/runner/api.Version=$(VERSION)
GOBUILD := go build -trimpath -buildvcs=false

DESTDIR :=
FUZZTIME := 10s
SCRIPTS := $(shell git ls-files --cached --others --exclude-standard 2>/dev/null | xargs -r grep -IlE -m1 '^\#!.*sh$$' 2>/dev/null)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: quickstart
quickstart: ## install what is missing, build, run one command in a sandbox, clean up
	integration/setup run
	$(MAKE) --no-print-directory build
	integration/quickstart

.PHONY: build
build: ## build the programs into bin
	CGO_ENABLED=0 $(GOBUILD) -tags urfave_cli_no_docs -ldflags '$(LDFLAGS)' -o bin/creel ./cmd/creel
	CGO_ENABLED=1 $(GOBUILD) -ldflags '$(LDFLAGS)' -o bin/creeld ./cmd/creeld
	CGO_ENABLED=0 $(GOBUILD) -ldflags '-s -w' -o bin/creel-init ./cmd/creel-init
	CGO_ENABLED=0 $(GOBUILD) -tags urfave_cli_no_docs -ldflags '-s -w' -o bin/creel-image ./cmd/creel-image
	CGO_ENABLED=0 $(GOBUILD) -tags urfave_cli_no_docs -ldflags '-s -w' -o bin/creel-check ./cmd/creel-check
	CGO_ENABLED=0 $(GOBUILD) -tags urfave_cli_no_docs -ldflags '-s -w' -o bin/creel-verify ./cmd/creel-verify

.PHONY: test
test: ## everything CI runs, installing what is missing first (as root)
	integration/setup test
	go -C .ci/tools run ./ci

.PHONY: unit
unit: ## the tests of the packages alone, under the race detector
	go -C .ci/tools run ./ci unit

.PHONY: integration
integration: ## the tests that drive the real binaries and a real systemd (as root)
	go -C .ci/tools run ./ci build integration

.PHONY: bench
bench: ## measure creel beside its peers into bin/bench (as root); ARGS=-quick for a first look
	integration/setup bench
	$(MAKE) --no-print-directory build
	go run ./integration/bench $(ARGS)

.PHONY: bench-inner
bench-inner: ## the Go benchmarks of the inner parts, compared with the last run of this
	integration/setup build
	integration/bench/inner $(ARGS)

.PHONY: profile
profile: ## where the time of a launch goes: steps, processors, system calls (as root)
	integration/setup bench
	$(MAKE) --no-print-directory build
	go run ./integration/bench -profile $(ARGS)

.PHONY: lint
lint: ## gofmt, go vet, staticcheck, shellcheck
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "gofmt -w these: $$unformatted"; exit 1; }
	go vet ./...
	"$$(go -C .ci/tools tool -n staticcheck)" ./...
	shellcheck $(SCRIPTS)

.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME (10s)
	@grep -rHoE --include='*_test.go' '^func Fuzz[A-Z]\w*' . | sort | while IFS=: read -r file target; do \
		echo "$${target#func } in $$(dirname "$$file")"; \
		go test -run '^$$' -fuzz "^$${target#func }\$$" -fuzztime $(FUZZTIME) "$$(dirname "$$file")"; \
	done

.PHONY: install
install: build ## install below DESTDIR; configuration that exists is kept
	integration/install '$(DESTDIR)'

.PHONY: image
image: ## build a small sandbox image, bin/sandbox-image.tar, for docker load or creel image import (as root)
	integration/setup image
	integration/image/build bin/sandbox-image.tar 'creel-sandbox:$(VERSION)'

.PHONY: clean
clean: ## remove what was built
	rm -rf bin
