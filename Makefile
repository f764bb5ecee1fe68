# Every target explains itself: make help.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# One setting for builds and tests, so that they share the build cache; runc
# alone needs C (libseccomp).
export CGO_ENABLED := 0

BIN := $(CURDIR)/bin
BUILD := $(CURDIR)/build
PREFIX ?= /usr/local
DESTDIR ?=
FUZZTIME ?= 60s
GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.12.2

# What building, testing and guests need from Debian. Erlang comes without
# its graphical parts; rebar3's own package depends on them, so only its one
# file is taken from it.
PACKAGES := gcc libc6-dev libseccomp-dev pkg-config git ca-certificates \
	erlang-base erlang-dev erlang-crypto erlang-public-key erlang-ssl \
	erlang-asn1 erlang-inets erlang-parsetools erlang-syntax-tools \
	erlang-tools erlang-eunit elixir e2fsprogs xz-utils

STACK := $(BIN)/containerd $(BIN)/containerd-shim-runc-v2 $(BIN)/runc
# Sources out of Debian's archive: Hex, which mix needs, and RabbitMQ's two,
# which carry real packages of hex.pm for the tests.
SOURCES := $(addprefix $(BUILD)/debian/, erlang-hex_2.0.6.orig.tar.gz \
	rabbitmq-server_3.10.8.orig.tar.xz rabbitmq-server_4.0.5.orig.tar.xz)
PROGRAMS := $(BIN)/sandboxd $(BIN)/sandbox-gateway $(BIN)/sandboxctl

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: packages $(BIN)/rebar3 $(BIN)/erlang-hex.tar.gz $(STACK) ## Install what is missing and build containerd, its shim and runc

.PHONY: setup-test
setup-test: setup $(BUILD)/debian/hexpm $(BUILD)/debian/rabbitmq $(BUILD)/debian/otp27 ## The same, and fetch the sources that tests build
	@cd examples/apps/ergo-hello && go mod download

.PHONY: packages
packages:
	@missing=""; for p in $(PACKAGES); do \
	  [ "$$(dpkg-query -W -f='$${db:Status-Status}' $$p 2>/dev/null || true)" = installed ] || missing="$$missing $$p"; \
	done; \
	if [ -n "$$missing" ]; then \
	  echo "setup: installing$$missing"; \
	  [ "$$(id -u)" = 0 ] || { echo "setup: run 'sudo make setup' once: packages need root"; exit 1; }; \
	  apt-get update -qq; \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi

$(BIN)/rebar3:
	@mkdir -p $(BIN); t=$$(mktemp -d); chmod 755 $$t; trap 'rm -rf '$$t EXIT; cd $$t; \
	apt-get download -qq rebar3 2>/dev/null || { apt-get update -qq; apt-get download -qq rebar3; }; \
	dpkg-deb -x rebar3_*.deb .; install -m 755 usr/bin/rebar3 $@; echo "setup: bin/rebar3"

# apt itself finds and verifies the files, with lists of its own: the
# machine's configuration need not name sources, and is not changed.
$(SOURCES):
	@d=$(BUILD)/debian; l=$$d/apt; mkdir -p $$l/lists/partial $$l/cache/archives/partial; \
	key=/usr/share/keyrings/debian-archive-keyring.gpg; \
	archive=$$(apt-get indextargets --format '$$(REPO_URI)' 'Created-By: Packages' | awk '!/security/ && !n++'); \
	[ -n "$$archive" ] || { echo "setup: apt knows no Debian archive: mend /etc/apt/sources.list"; exit 1; }; \
	for suite in bookworm trixie; do \
	  echo "deb-src [signed-by=$$key] $$archive $$suite main"; done > $$l/sources.list; \
	apt="-o Dir::Etc::sourcelist=$$l/sources.list -o Dir::Etc::sourceparts=- -o Dir::State::lists=$$l/lists -o Dir::Cache=$$l/cache -o APT::Sandbox::User=root"; \
	[ -s $$l/updated ] || { apt-get $$apt update -qq; date > $$l/updated; }; \
	package=$(@F); package=$${package%%_*}; version=$(@F); version=$${version#*_}; version=$${version%.orig.*}; \
	for suite in bookworm trixie; do \
	  apt-get $$apt source --print-uris --only-source $$package/$$suite 2>/dev/null || true; done | \
	  tr -d "'" | awk -v f=$(@F) '$$2 == f { print $$1, $$4; exit }' > $$l/found; \
	read -r uri sum < $$l/found || { echo "setup: Debian's archive does not list $$package $$version"; exit 1; }; \
	/usr/lib/apt/apt-helper -o APT::Sandbox::User=root download-file $$uri $@ $$sum >/dev/null; \
	echo "setup: build/debian/$(@F)"

# Packages as hex.pm serves them, NAME-VERSION.tar.
$(BUILD)/debian/hexpm: $(SOURCES)
	@rm -rf $@.new; mkdir -p $@.new; for f in $(filter %.xz,$^); do \
	  tar -xJf $$f -C $@.new --wildcards --strip-components 5 '*/deps/.hex/packages/hexpm/*.tar'; done; \
	rm -rf $@; mv $@.new $@; echo "setup: build/debian/hexpm: $$(ls $@ | wc -l) packages"

# RabbitMQ as Debian packs it, with the parts of Erlang that it needs, unpacked
# for the tests and never installed: its package would start a service.
$(BUILD)/debian/rabbitmq:
	@t=$$(mktemp -d); chmod 755 $$t; trap 'rm -rf '$$t EXIT; cd $$t; \
	debs="rabbitmq-server erlang-os-mon erlang-xmerl erlang-mnesia erlang-runtime-tools"; \
	apt-get download -qq $$debs 2>/dev/null || { apt-get update -qq; apt-get download -qq $$debs; }; \
	for d in *.deb; do dpkg-deb -x $$d x; done; \
	rm -rf $@; mkdir -p $(@D); mv x $@; echo "setup: build/debian/rabbitmq"

# The next Debian's Erlang/OTP 27 with the libraries that its programs need,
# unpacked for the tests: its C library is newer than the machine's.
$(BUILD)/debian/otp27:
	@t=$$(mktemp -d); chmod 755 $$t; trap 'rm -rf '$$t EXIT; cd $$t; mkdir -p lists/partial cache/archives/partial; \
	archive=$$(apt-get indextargets --format '$$(REPO_URI)' 'Created-By: Packages' | awk '!/security/ && !n++'); \
	[ -n "$$archive" ] || { echo "setup: apt knows no Debian archive: mend /etc/apt/sources.list"; exit 1; }; \
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $$archive trixie main" > sources.list; \
	apt="-o Dir::Etc::sourcelist=$$t/sources.list -o Dir::Etc::sourceparts=- -o Dir::State::lists=$$t/lists -o Dir::State::status=/dev/null -o Dir::Cache=$$t/cache -o APT::Sandbox::User=root"; \
	apt-get $$apt update -qq; \
	apt-get $$apt download -qq erlang-base libc6 libgcc-s1 libstdc++6 zlib1g libtinfo6 libsystemd0 libcap2; \
	mkdir -p x/usr/bin x/usr/lib x/usr/lib64; for l in bin lib lib64; do ln -s usr/$$l x/$$l; done; \
	for d in *.deb; do dpkg-deb -x $$d x; done; rm -rf x/usr/share x/etc; \
	rm -rf $@; mkdir -p $(@D); mv x $@; echo "setup: build/debian/otp27"

# sandboxd looks for it beside itself, as for rebar3.
$(BIN)/erlang-hex.tar.gz: $(BUILD)/debian/erlang-hex_2.0.6.orig.tar.gz
	@mkdir -p $(BIN); install -m 644 $< $@

# go build decides what is stale; go.mod pins the versions.
$(BIN)/containerd $(BIN)/containerd-shim-runc-v2: go.mod
	@echo "setup: building $(@F) (once, about a minute)"
	@go build -o $@ github.com/containerd/containerd/v2/cmd/$(@F)
	@touch $@

$(BIN)/runc: go.mod
	@echo "setup: building runc"
	@CGO_ENABLED=1 go build -tags seccomp -o $@ github.com/opencontainers/runc
	@touch $@

.PHONY: build
build: ## Build sandboxd, sandbox-gateway and sandboxctl into bin/
	@mkdir -p $(BIN)
	@CGO_ENABLED=0 go build -o $(BIN)/ ./cmd/...

.PHONY: demo
demo: setup build ## Run the main job end to end on real parts, narrated
	@go run ./examples/demo -bin $(BIN) -examples $(CURDIR)/examples

.PHONY: test
test: setup-test build lint-fast ## Run the whole test suite: unit, then integration (root)
	go test ./...
	go test -tags integration -count=1 -timeout 40m -p 1 ./...

.PHONY: unit
unit: ## Run the unit tests alone
	go test ./...

.PHONY: integration
integration: setup-test build ## Run the tests that need root, containerd and BEAM
	go test -tags integration -count=1 -timeout 40m -p 1 ./...

.PHONY: bench
bench: setup-test build ## Measure; prints a table and writes build/bench.json
	@mkdir -p $(BUILD)
	go test -tags integration -run '^$$' -bench . -benchtime 1x -timeout 20m ./integration -args -out $(BUILD)/bench.json

.PHONY: vm
vm: setup build ## Run the demo in a VM with cgroup v2 and systemd (root, long)
	@integration/vm/run.sh

.PHONY: fuzz
fuzz: ## Fuzz every parser and decoder for FUZZTIME (60s) each
	@for pkg in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
	  for f in $$(grep -rhoE '^func Fuzz[A-Za-z0-9_]+' $$pkg/*_test.go | awk '{print $$2}'); do \
	    echo "fuzz $$pkg $$f"; go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$pkg; \
	  done; done

.PHONY: lint-fast
lint-fast:
	@bad=$$(gofmt -l cmd runtime netns images reconcile distribution policy integration examples); \
	[ -z "$$bad" ] || { echo "gofmt: run make fmt on: $$bad"; exit 1; }
	go vet ./...
	go vet -tags integration ./...

.PHONY: lint
lint: lint-fast ## Format check, vet and golangci-lint
	go run $(GOLANGCI) run --max-same-issues 0 --max-issues-per-linter 0 --build-tags integration ./...

.PHONY: fmt
fmt: ## Format the Go code
	gofmt -w cmd runtime netns images reconcile distribution policy integration examples

.PHONY: cover
cover: ## Unit test coverage; writes build/cover.out and prints the total
	@mkdir -p $(BUILD)
	go test -coverprofile $(BUILD)/cover.out ./...
	go tool cover -func $(BUILD)/cover.out | tail -1

.PHONY: install
install: setup build ## Install the programs and their stack under PREFIX (/usr/local)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/libexec/beamsandbox
	install -m 755 $(BIN)/sandboxd $(BIN)/sandboxctl $(DESTDIR)$(PREFIX)/bin/
	install -m 755 $(BIN)/sandbox-gateway $(BIN)/rebar3 $(STACK) $(DESTDIR)$(PREFIX)/libexec/beamsandbox/
	install -m 644 $(BIN)/erlang-hex.tar.gz $(DESTDIR)$(PREFIX)/libexec/beamsandbox/

.PHONY: clean
clean: ## Remove bin/ and build/
	rm -rf $(BIN) $(BUILD)
