# Each target sets itself up: PostgreSQL is found or started for the run by internal/pgtest/with-postgres, and
# what a bare Debian machine lacks is installed there. Nothing stays behind but .bin and Go's caches.

GOLANGCI_VERSION := v2.15.0
FUZZTIME         := 10s
DEMO             := go run ./examples/orders/demo

WITH_POSTGRES := .bin/with-postgres -install
GOLANGCI      := .bin/golangci-lint-$(GOLANGCI_VERSION)

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1#\2/p' $(MAKEFILE_LIST) | while IFS='#' read -r name text; do printf '  make %-10s %s\n' "$$name" "$$text"; done

.PHONY: demo
demo: .bin/with-postgres ## Run the example: orders whose work survives a kill -9
	@$(WITH_POSTGRES) -demo -- $(DEMO)

.PHONY: test
test: .bin/with-postgres ## Test with the race detector: all on one driver, a smoke test of the others
	@$(WITH_POSTGRES) -- go test -race -shuffle=on -timeout=5m ./...

.PHONY: test-all
test-all: .bin/with-postgres ## Test everything on each driver, directly and through PgBouncer, and on a SERIALIZABLE default
	@PGTEST_FULL=1 $(WITH_POSTGRES) -- go test -race -shuffle=on -timeout=15m ./...
	@PGTEST_ISOLATION=serializable $(WITH_POSTGRES) -- go test -race -shuffle=on -timeout=10m . ./store_test

BENCH := $(WITH_POSTGRES) -demo -set shared_preload_libraries=pg_stat_statements -set max_wal_size=8GB -- .bin/bench

.PHONY: bench
bench: .bin/with-postgres .bin/bench ## Measure this library, its peers and bare statements; writes bench/RESULTS.md (25 minutes)
	@$(BENCH) -out bench

.PHONY: bench-smoke
bench-smoke: .bin/with-postgres .bin/bench ## Test the bench, and take each measurement once and briefly
	@$(WITH_POSTGRES) -- sh -c 'cd bench && go test ./...'
	@$(BENCH) -smoke

.PHONY: fuzz
fuzz: .bin/with-postgres ## Run each fuzz target for FUZZTIME (10s)
	@$(WITH_POSTGRES) -- sh -ec 'go list ./... | while read -r package; do \
		go test -list "^Fuzz" "$$package" | grep "^Fuzz" | while read -r target; do \
			echo "$$package $$target"; \
			go test -run="^$$target\$$" -fuzz="^$$target\$$" -fuzztime=$(FUZZTIME) "$$package"; \
		done; \
	done'

.PHONY: lint
lint: $(GOLANGCI) ## Check format, go vet and golangci-lint (the map of rooms: .golangci.yml)
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "gofmt -w $$unformatted"; exit 1; }
	@go vet ./...
	@$(GOLANGCI) run
	@cd bench && go vet ./... && ../$(GOLANGCI) run --config ../.golangci.yml

.PHONY: clean
clean: ## Remove what the targets built
	@rm -rf .bin

# Built, not "go run": that would hide the exit code and keep signals to itself.
.PHONY: .bin/with-postgres
.bin/with-postgres:
	@go build -o $@ ./internal/pgtest/with-postgres

.PHONY: .bin/bench
.bin/bench:
	@cd bench && go build -o ../$@ .

$(GOLANGCI):
	@echo "building golangci-lint $(GOLANGCI_VERSION), once, which takes two minutes"
	@GOFLAGS= GOBIN=$(CURDIR)/.bin go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	@mv .bin/golangci-lint $@
