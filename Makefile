# Each target sets itself up: PostgreSQL is found or started for the run by internal/pgtest/with-postgres, and what a
# bare Debian machine lacks is installed there, as root; the demos need no root, they have cmd/workflow download it. No server and no data stay behind. What does: the packages that
# were installed, .bin (make clean), Go's caches, and versions of PostgreSQL that were fetched (in the user's cache
# directory, for root /var/cache/sqlworkflow-pgtest).

GOLANGCI_VERSION := v2.15.0
FUZZTIME         := 10s
VERSIONS         := 14 16 17 18
RACE             := -race
PACKAGES         := ./...
# Most tests wait more than they compute: twice as many at a time as a machine of two processors would take by itself.
PARALLEL         := -parallel=4

WITH_POSTGRES := .bin/with-postgres -install
GOLANGCI      := .bin/golangci-lint-$(GOLANGCI_VERSION)
DEMO          := .bin/workflow dev

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1#\2/p' $(MAKEFILE_LIST) | while IFS='#' read -r name text; do printf '  make %-13s %s\n' "$$name" "$$text"; done

.PHONY: demo
demo: ## Run the example: orders whose work survives a kill -9
	@echo "building the demo, which takes up to two minutes the first time"
	@go build -o .bin/ ./cmd/workflow ./examples/orders ./examples/orders/demo
	@$(DEMO) --schema example_workflows -- .bin/demo

.PHONY: demo-refunds
demo-refunds: ## Run the example: refunds that wait for managers, a bank and runs of their own, through a kill -9
	@echo "building the demo, which takes up to two minutes the first time"
	@go build -o .bin/ ./cmd/workflow ./examples/refunds
	@go build -o .bin/demo-refunds ./examples/refunds/demo
	@$(DEMO) --schema example_refunds_workflows -- .bin/demo-refunds

.PHONY: demo-queue
demo-queue: ## Run the example: thumbnails by three processes under one limit, through a kill -9; look at .bin/albums
	@echo "building the demo, which takes up to two minutes the first time"
	@go build -o .bin/ ./cmd/workflow
	@go build -o .bin/demo-queue ./examples/thumbnails/demo
	@$(DEMO) --schema example_thumbnails -- .bin/demo-queue -out .bin/albums

.PHONY: test
test: .bin/with-postgres ## Test with the race detector: all on one driver, a smoke test of the others
	@$(WITH_POSTGRES) -- go test $(RACE) $(PARALLEL) -shuffle=on -timeout=25m $(PACKAGES)

.PHONY: test-versions
test-versions: .bin/with-postgres ## Run make test on each of VERSIONS (14 16 17 18), which npm brings
	@status=0; for version in $(VERSIONS); do \
		PGTEST_VERSION=$$version $(MAKE) --no-print-directory test || status=1; \
	done; exit $$status

.PHONY: test-river
test-river: .bin/with-postgres ## Test the adapter to River, a module of its own, on River itself
	@$(WITH_POSTGRES) -- sh -c 'cd riverworkflow && go test $(RACE) -shuffle=on -timeout=10m ./...'

.PHONY: test-otel
test-otel: .bin/with-postgres ## Test the traces and metrics for OpenTelemetry, a module of its own, over a kill -9
	@$(WITH_POSTGRES) -- sh -c 'cd otelworkflow && go test $(RACE) -shuffle=on -timeout=10m ./...'

# Debian's browser: as root it is installed where it is missing, else the tests say that they were not run.
.PHONY: test-web
test-web: .bin/with-postgres ## Test the dashboard in headless Chromium: each page and action, by clicking (a module of its own)
	@if ! command -v chromium >/dev/null && test "$$(id -u)" = 0; then \
		echo "installing chromium, once, which takes a minute"; \
		{ apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium fonts-dejavu-core; } \
			>.bin/chromium.log 2>&1 || { tail -n 20 .bin/chromium.log; exit 1; }; \
	fi
	@$(WITH_POSTGRES) -- sh -c 'cd web/webtest && go test -timeout=10m ./... $(ARGS)'

# An application on SERIALIZABLE does its transaction again when another was first (40001), which the examples leave out.
.PHONY: test-all
test-all: .bin/with-postgres ## Test everything on each driver, directly and through PgBouncer, and on a SERIALIZABLE default
	@PGTEST_FULL=1 $(WITH_POSTGRES) -- go test $(RACE) $(PARALLEL) -shuffle=on -timeout=25m $(PACKAGES)
	@PGTEST_ISOLATION=serializable $(WITH_POSTGRES) -- go test $(PARALLEL) -shuffle=on -timeout=25m -run="^(Test|Fuzz)" . ./store_test

.PHONY: soak
soak: .bin/with-postgres ## Test at sizes that take hours: thousands of signals and children, a rolling deploy of 200 runs, every cut
	@PGTEST_FULL=1 PGTEST_SOAK=1 $(WITH_POSTGRES) -- go test -race -shuffle=on -timeout=120m . ./engine_test ./fleet_test ./store_test ./web

BENCH := $(WITH_POSTGRES) -demo -set shared_preload_libraries=pg_stat_statements -set max_wal_size=8GB -- .bin/bench

.PHONY: bench
bench: .bin/with-postgres .bin/bench ## Measure this library, its peers and bare statements; writes bench/RESULTS.md (40 minutes)
	@$(BENCH) -out bench

.PHONY: bench-cells
bench-cells: .bin/with-postgres .bin/bench ## Measure CELLS (payload-1KB,fleet) of the bench again, and keep the others in bench/RESULTS.md
	@test -n "$(CELLS)" || { echo "make bench-cells CELLS=payload-1KB,fleet"; exit 1; }
	@$(BENCH) -only "$(CELLS)" -keep bench/results.json -out bench

.PHONY: bench-smoke
bench-smoke: .bin/with-postgres .bin/bench ## Test the bench, and take each measurement once and briefly
	@$(WITH_POSTGRES) -- sh -c 'cd bench && go test ./...'
	@$(BENCH) -smoke

# Each package is built once, with what guides the fuzzing.
.PHONY: fuzz
fuzz: .bin/with-postgres ## Run each fuzz target for FUZZTIME (10s)
	@$(WITH_POSTGRES) -- sh -ec 'grep -rl "^func Fuzz" --include="*_test.go" . | xargs -n 1 dirname | sort -u | while read -r room; do \
		go test -c -fuzz=. -o .bin/fuzz.test "$$room"; \
		cd "$$room"; \
		for target in $$("$(CURDIR)/.bin/fuzz.test" -test.list="^Fuzz"); do \
			echo "$$room $$target"; \
			"$(CURDIR)/.bin/fuzz.test" -test.run="^$$target\$$" -test.fuzz="^$$target\$$" -test.fuzztime=$(FUZZTIME) \
				-test.fuzzcachedir="$(CURDIR)/.bin/fuzz/$$room"; \
		done; \
		cd "$(CURDIR)"; \
	done'

.PHONY: lint
lint: $(GOLANGCI) ## Check format, go vet and golangci-lint (the map of rooms: .golangci.yml)
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "gofmt -w $$unformatted"; exit 1; }
	@go vet ./...
	@$(GOLANGCI) run
	@for module in bench riverworkflow otelworkflow web/webtest; do \
		(cd $$module && go vet ./... && $(CURDIR)/$(GOLANGCI) run --config $(CURDIR)/.golangci.yml) || exit 1; \
	done

.PHONY: clean
clean: ## Remove what the targets built
	@rm -rf .bin

# Built, not "go run": that would hide the exit code and keep signals to itself.
.PHONY: .bin/with-postgres
.bin/with-postgres:
	@test -e $@ || echo "building, which takes up to two minutes the first time"
	@go build -o $@ ./internal/pgtest/with-postgres

.PHONY: .bin/bench
.bin/bench:
	@cd bench && go build -o ../$@ .

$(GOLANGCI):
	@echo "building golangci-lint $(GOLANGCI_VERSION), once, which takes two minutes"
	@GOFLAGS= GOBIN=$(CURDIR)/.bin go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	@mv .bin/golangci-lint $@
