# `make` or `make help` lists what there is to do here.
#
# Nothing is installed outside this folder and the user's caches: development
# tools are pinned in hack/tools/go.mod and run through `go tool`; the control
# plane's binaries are kept by hack/controlplane/ensure.sh.

SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

GO ?= go
export GO
TOOL := $(GO) tool -modfile=hack/tools/go.mod
# Helm and its tools have a module of their own: helm-unittest and helm-docs need another Helm.
HELM_TOOL := $(GO) tool -modfile=hack/tools/helm/go.mod

# The one place of the version. LDFLAGS stamp it into every program, and leave out what only debuggers read.
VERSION := $(shell cat VERSION)
LDFLAGS := -s -w -X github.com/devicetwin-io/devicetwin-operator/internal/version.version=$(VERSION)
# What is built, and where to.
PROGRAMS ?= manager devicesim hubemulator kubectl-twin
BIN ?= bin
BUILDFLAGS ?=

# PACKAGES and TESTFLAGS narrow `make test`: make test PACKAGES=./internal/... TESTFLAGS='-run Plan -v'
# TESTARGS are flags of a package's own: make test PACKAGES=./controllers TESTARGS=-namespaced
PACKAGES ?= ./...
TESTFLAGS ?=
TESTARGS ?=
# KILL_AFTER and BREAK are for `make demo` and `make demo-check`.
KILL_AFTER ?=
BREAK ?=

##@ General

.PHONY: help
help: ## Show this list.
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z0-9-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

##@ See it work

.PHONY: demo
demo: bin/demo ## Tell the device twin story on real parts, then stay up to play with.
	@assets="$$(hack/controlplane/ensure.sh)"; exec bin/demo --bin bin --assets "$$assets" \
		--kill-after="$(KILL_AFTER)" --break="$(BREAK)"

.PHONY: demo-check
demo-check: bin/demo ## The same story, then stop; fails with the step that did not hold.
	@assets="$$(hack/controlplane/ensure.sh)"; exec bin/demo --bin bin --assets "$$assets" --check \
		--kill-after="$(KILL_AFTER)" --break="$(BREAK)"

.PHONY: demo-cast
demo-cast: bin/demo ## Play some commands on the same parts, and draw the terminal as docs/images/demo.svg.
	@assets="$$(hack/controlplane/ensure.sh)"; exec bin/demo --bin bin --assets "$$assets" --cast docs/images/demo.svg

##@ Build

.PHONY: build
build: ## Build bin/manager, bin/devicesim, bin/hubemulator and bin/kubectl-twin.
	CGO_ENABLED=0 $(GO) build -trimpath $(BUILDFLAGS) -ldflags '$(LDFLAGS)' -o $(BIN)/ $(PROGRAMS:%=./cmd/%)

bin/demo: build
	@CGO_ENABLED=0 $(GO) build -trimpath -o bin/ ./hack/demo

.PHONY: controlplane
controlplane: ## Fetch or build kube-apiserver, etcd and kubectl, once per user.
	@hack/controlplane/ensure.sh

.PHONY: clean
clean: ## Remove what was built here; caches in the home folder stay.
	rm -rf bin dist

##@ Release

# What the images are called after, and where `make push` sends them.
REGISTRY ?= ghcr.io/devicetwin-io
PLATFORMS ?= linux/amd64 linux/arm64
# Everything in the images bears the time of the commit, so that they are the same whenever they are made.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct)

.PHONY: images
images: ## Write OCI images, archives to load and SBOMs to dist/images, without a daemon.
	@for platform in $(PLATFORMS); do \
		GOOS=$${platform%/*} GOARCH=$${platform#*/} $(MAKE) --no-print-directory build BUILDFLAGS=-buildvcs=auto BIN=dist/bin/$$platform; \
	done
	@rm -rf dist/images
	@SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) $(GO) run -C hack/images . build --programs '$(PROGRAMS)' --platforms '$(PLATFORMS)' \
		--binaries $(CURDIR)/dist/bin --out $(CURDIR)/dist/images --license $(CURDIR)/LICENSE --registry $(REGISTRY) \
		--version $(VERSION) --revision "$$(git describe --always --abbrev=40 --dirty --exclude '*')"

.PHONY: push
push: ## Push what `make images` wrote to REGISTRY, as in REGISTRY=registry.example.com/iot.
	@$(GO) run -C hack/images . push --programs '$(PROGRAMS)' --from $(CURDIR)/dist/images --registry $(REGISTRY)

# PUSHFLAGS for a registry without TLS: make push-chart PUSHFLAGS=--plain-http
PUSHFLAGS ?=

.PHONY: push-chart
push-chart: ## Push the chart's package that `make release` wrote to REGISTRY/charts.
	@$(HELM_TOOL) helm push dist/release/devicetwin-operator-$(VERSION).tgz oci://$(REGISTRY)/charts $(PUSHFLAGS)

# Where people use kubectl.
PLUGIN_PLATFORMS ?= linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64

.PHONY: release
release: images helm ## Write everything that a release page needs to dist: images, manifests, the chart's package, the plugin, checksums.
	@rm -rf dist/release
	@SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) hack/release.sh dist/release $(REGISTRY) $(VERSION)
	@SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) hack/plugin.sh dist/release $(VERSION) $(PLUGIN_PLATFORMS)
	@cp dist/images/*.tar dist/images/*.cdx.json dist/images/digests.txt dist/release
	@cd dist/release && sha256sum -- * >../checksums.txt && mv ../checksums.txt . && ls -sh1

##@ Measure

# BENCHFLAGS goes to the program: make bench-emulator BENCHFLAGS='--rounds 3 --fleet 1000'
BENCHFLAGS ?=

.PHONY: bench-emulator
bench-emulator: ## Measure the emulator against its bounds, in some seven minutes; writes docs/benchmarks.
	@CGO_ENABLED=0 $(GO) build -trimpath -o bin/bench-emulator ./hack/bench/emulator
	@bin/bench-emulator --out docs/benchmarks $(BENCHFLAGS)

# BENCHFLAGS for these: make bench BENCHFLAGS='--rows idle,restart --n 1000'; bin/bench-operator --help lists the rows.
bench_operator := CGO_ENABLED=0 $(GO) build -trimpath -o bin/bench-operator ./hack/bench/operator; \
	assets="$$(hack/controlplane/ensure.sh)"; exec bin/bench-operator --bin bin --assets "$$assets" --out docs/benchmarks

.PHONY: bench
bench: build ## Measure the operator with 10,000 twins on real parts; writes docs/benchmarks.
	@$(bench_operator) $(BENCHFLAGS)
	@$(MAKE) --no-print-directory charts

.PHONY: bench-100k
bench-100k: build ## Measure it with 100,000 twins, for as long as that takes.
	@$(bench_operator) --report operator-100k --n 100000 --rounds 1 --sizes 10000,50000,100000 \
		--rows converge,idle,memory $(BENCHFLAGS)
	@$(MAKE) --no-print-directory charts

.PHONY: bench-million
bench-million: build ## Measure one DeviceTwinSet over 1,000,000 devices in one emulator, in some ten minutes.
	@$(bench_operator) --report operator-million --n 1000000 --rounds 1 --rows set-million $(BENCHFLAGS)

.PHONY: bench-check
bench-check: build ## As bench; fails with every row that misses its bound.
	@$(bench_operator) --check $(BENCHFLAGS)

.PHONY: charts
charts: ## Draw the benchmarks' figures as docs/benchmarks/*.svg.
	@$(GO) run -C hack/charts . --dir $(CURDIR)/docs/benchmarks --out $(CURDIR)/docs/benchmarks

##@ Develop

.PHONY: generate
generate: ## Generate the API types' deep copies.
	$(TOOL) controller-gen object paths=./api/...

.PHONY: manifests
manifests: ## Generate the custom resource definitions, the manager's role, the webhooks and the PrometheusRule.
	@hack/prometheusrule.sh
	$(TOOL) controller-gen crd rbac:roleName=manager-role webhook \
		paths=./api/... paths=./controllers/... paths=./internal/admission \
		output:crd:artifacts:config=config/crd/bases output:rbac:artifacts:config=config/rbac \
		output:webhook:artifacts:config=config/webhook
	@test -s config/rbac/role.yaml || { \
		echo "no role came out: +kubebuilder:rbac markers must not stand in a type's doc comment"; exit 1; }

.PHONY: chart
chart: ## Bring the Helm chart's generated parts in step with config, VERSION and values.yaml.
	@hack/chart.sh

.PHONY: api-docs
api-docs: ## Generate docs/api-reference.md from the API types.
	$(TOOL) crd-ref-docs --source-path=api --config=hack/tools/crd-ref-docs.yaml --renderer=markdown \
		--output-path=docs/api-reference.md --log-level=ERROR

.PHONY: options
options: ## Generate docs/options.md from what the programs' --help says.
	@hack/options.sh >docs/options.md.new && mv docs/options.md.new docs/options.md

.PHONY: plugin-docs
plugin-docs: ## Generate docs/kubectl-twin.md from the commands of kubectl-twin.
	@$(GO) run ./hack/plugindocs >docs/.kubectl-twin.md && mv docs/.kubectl-twin.md docs/kubectl-twin.md

.PHONY: fmt
fmt: ## Format the Go code, and order its imports.
	$(TOOL) golangci-lint-kube-api-linter fmt

.PHONY: vet
vet: ## Run go vet.
	$(GO) vet ./...

.PHONY: lint
lint: ## Run golangci-lint, with kube-api-linter in it, by .golangci.yml.
	$(TOOL) golangci-lint-kube-api-linter run ./...
	cd hack/images && $(GO) tool -modfile=../tools/go.mod golangci-lint-kube-api-linter run ./...

.PHONY: verify
verify: ## Check that generated files, formatting, modules and vet are in order.
	@hack/verify.sh

##@ Test

# The race detector needs cgo, and so a C compiler. Without one the tests still run.
.PHONY: helm
helm:
	@$(HELM_TOOL) -n helm >/dev/null # builds it, outside of any test's time

.PHONY: test
test: helm ## Run every test; ends with "N passed, N failed, N skipped".
	@KUBEBUILDER_ASSETS="$$(hack/controlplane/ensure.sh)"; export KUBEBUILDER_ASSETS; \
	race=(); cc="$$($(GO) env CC)"; \
	if [[ "$$($(GO) env CGO_ENABLED)" == 1 ]] && command -v "$${cc%% *}" >/dev/null; then race=(-race); \
	else echo "running without -race: it needs a C compiler, and '$$cc' is not on this machine"; fi; \
	$(GO) build -o bin/testsummary ./hack/testsummary; \
	$(GO) test -json -count=1 -timeout 15m $${race[@]+"$${race[@]}"} $(TESTFLAGS) $(PACKAGES) $(TESTARGS) | bin/testsummary

.PHONY: monitoring-test
monitoring-test: ## Test alerts, runbooks and dashboard with Prometheus: promtool's unit tests, and a scrape of a manager.
	@KUBEBUILDER_ASSETS="$$(hack/controlplane/ensure.sh)"; export KUBEBUILDER_ASSETS; \
	hack/prometheus.sh >/dev/null; $(GO) test -count=1 $(TESTFLAGS) ./test/monitoring ./internal/testenv/monitoring; \
	$(GO) test -count=1 ./cmd/manager -run '^TestPrometheus' $(TESTFLAGS)

.PHONY: test-images
test-images: ## Test hack/images, which is a module of its own.
	@$(GO) build -o bin/testsummary ./hack/testsummary; \
	$(GO) test -C hack/images -json -count=1 ./... | bin/testsummary

.PHONY: helm-test
helm-test: helm ## Lint the Helm chart, run its unit tests, and hold it against a real API server and against config.
	@$(HELM_TOOL) helm lint --strict charts/devicetwin-operator
	@for values in charts/devicetwin-operator/ci/*.yaml; do \
		$(HELM_TOOL) helm lint --strict --quiet --values "$$values" charts/devicetwin-operator; done
	@$(HELM_TOOL) helm-unittest --strict charts/devicetwin-operator
	@KUBEBUILDER_ASSETS="$$(hack/controlplane/ensure.sh)"; export KUBEBUILDER_ASSETS; \
	$(GO) test -count=1 $(TESTFLAGS) ./test/chart

# E2EFLAGS for the story: make e2e E2EFLAGS='--only fleet --twins 50'
E2EFLAGS ?=

.PHONY: e2e
e2e: helm ## Run the images in Pods of a real node, installed with Helm, and tell the story there; needs root and containerd.
	@hack/e2e/prerequisites.sh
	@$(MAKE) --no-print-directory images PLATFORMS="linux/$$($(GO) env GOHOSTARCH)"
	@hack/e2e/run.sh $(E2EFLAGS)

# The test runs as a program of its own, so that it shows how far it is.
.PHONY: crash-matrix
crash-matrix: ## Kill the manager at each of its writes, in some five minutes, and print what comes of it.
	@KUBEBUILDER_ASSETS="$$(hack/controlplane/ensure.sh)"; export KUBEBUILDER_ASSETS; \
	$(GO) test -c -o bin/crash.test ./test/crash; rm -f bin/crash-matrix.md; cd test/crash; \
	CRASH_SCENARIOS=all CRASH_MATRIX=$(CURDIR)/bin/crash-matrix.md ../../bin/crash.test -test.timeout 30m && status=0 || status=$$?; \
	cat ../../bin/crash-matrix.md; exit $$status

# RUNS is how often the leader is stopped, for some 40 seconds with 300 twins.
RUNS ?= 5

.PHONY: leader-check
leader-check: ## Stop the leading manager for longer than its Lease lasts, RUNS times, and see that it brings nothing back.
	@KUBEBUILDER_ASSETS="$$(hack/controlplane/ensure.sh)"; export KUBEBUILDER_ASSETS; \
	$(GO) test -count=1 -timeout 0 -v ./cmd/manager -run '^TestAPausedLeader' -paused-runs=$(RUNS) -paused-twins=300 \
		-paused-lease=15s -paused-for=40s $(TESTFLAGS)

# SEQUENCES and SEED are for `make model-test`; seed 0 takes one from the clock.
SEQUENCES ?= 50
SEED ?= 0

.PHONY: model-test
model-test: ## Run SEQUENCES random sequences against the reference model, from SEED on.
	@KUBEBUILDER_ASSETS="$$(hack/controlplane/ensure.sh)"; export KUBEBUILDER_ASSETS; \
	cd test/model && $(GO) test -count=1 -timeout 0 -run '^Test(Set)?Sequences$$' -sequences=$(SEQUENCES) -seed=$(SEED) $(TESTFLAGS)

# FUZZTIME is for each target: a time, or a number of inputs as in 2000x. Minimising is cut short: it may take a
# minute for each new input.
FUZZTIME ?= 5s

.PHONY: fuzz
fuzz: ## Fuzz every parser for FUZZTIME each.
	@for package in $$(grep -rl --include='*_test.go' '^func Fuzz' internal hubemulator | xargs -n 1 dirname | sort -u); do \
		for target in $$($(GO) test -list '^Fuzz' "./$$package" | grep '^Fuzz'); do \
			echo "$$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x "./$$package"; \
		done; \
	done
