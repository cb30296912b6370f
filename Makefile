# Every check of the project is a target here; .ci/run calls the same ones.

# A number of calls: where the time is limited, Go before 1.27 takes the limit for a
# failure now and then ("context deadline exceeded").
FUZZTIME ?= 1000x
# Of the tests of one package: on a busy machine ten minutes, Go's own, may be too short.
TIMEOUT  ?= 30m
MODULES  := $(shell find . -name go.mod -exec dirname {} \; | sort)

# Runs a command in every module, the workspace switched off: it would hide
# requirements that a go.mod lacks.
define each_module
	@set -e; for module in $(MODULES); do \
		echo "== $$module: $(1)"; (cd $$module && export GOWORK=off && $(1)); \
	done
endef

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: test
test: ## Test all modules of the workspace
	go test -timeout=$(TIMEOUT) work

.PHONY: race
race: ## The same with the race detector (needs a C compiler)
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && for try in 1 2 3; do \
		echo "go test -race work"; { go test -race -timeout=$(TIMEOUT) work 2>&1; echo $$? >"$$dir/status"; } | tee "$$dir/log"; \
		[ "$$(cat "$$dir/status")" -ne 0 ] || exit 0; \
		grep -q '^ThreadSanitizer: CHECK failed' "$$dir/log" && ! grep -qE '^ *--- FAIL|DATA RACE|^panic:' "$$dir/log" || exit 1; \
		echo 'No test failed, but the race detector itself, which happens in long runs: again, what has passed is cached.'; \
	done; exit 1

.PHONY: vet
vet: ## Run go vet on all modules
	$(call each_module,go vet ./...)

.PHONY: lint
lint: ## Run golangci-lint on all modules
	$(call each_module,golangci-lint run ./...)

.PHONY: fmt
fmt: ## Format all files with gofumpt
	gofumpt -w .

.PHONY: fmt-check
fmt-check: ## Fail if a file is not formatted
	@files=$$(gofumpt -l .); test -z "$$files" || { echo "not formatted, run make fmt:"; echo "$$files"; exit 1; }

.PHONY: fresh
fresh: ## README's commands, program and snippets as a stranger runs them: a new clone, empty caches; a server must last a minute
	@dir=$$(mktemp -d) && trap 'chmod -R u+w "$$dir" && rm -rf "$$dir"' EXIT && \
	git clone -q . "$$dir/hookpost" && cd "$$dir/hookpost" && \
	export GOMODCACHE="$$dir/modules" GOCACHE="$$dir/builds" && \
	grep -E '^    go ' README.md | while read -r command; do echo "> $$command" && \
	case "$$command" in *dashboard) timeout -s INT 60 $$command; [ $$? -eq 124 ] ;; *) $$command ;; esac || exit 1; done && \
	go test -count=1 -run Snippets ./internal/project

.PHONY: modules
modules: ## Build and test (-short) every module as its users get it, without the workspace
	$(call each_module,go build -o /dev/null ./... && go test -short ./... && go mod tidy -diff)

.PHONY: tidy
tidy: ## Tidy the go.mod of every module
	$(call each_module,go mod tidy)
	go work sync

.PHONY: quickstart
quickstart: ## Run the quickstart
	go run ./examples/quickstart

.PHONY: fuzz
fuzz: ## Fuzz every target for FUZZTIME (1000x: so many calls)
	@bin=$$(mktemp -d) && trap 'rm -rf "$$bin"' EXIT && export GOWORK=off && \
	grep -rlE --include='*_test.go' '^func Fuzz' . | xargs -n 1 dirname | sort -u | while read -r dir; do \
		(cd "$$dir" && go test -c -fuzz=. -o "$$bin/test" . && cache="$$(go env GOCACHE)/fuzz/$$(go list .)" && \
		"$$bin/test" -test.list='^Fuzz' | while read -r target; do \
			echo "== $$dir $$target" && "$$bin/test" -test.run='^$$' -test.fuzz="^$$target\$$" \
				-test.fuzztime=$(FUZZTIME) -test.fuzzcachedir="$$cache" || exit 1; \
		done) || exit 1; \
	done

.PHONY: faults
faults: export HOOKPOST_FAULTS = full
faults: ## Break workers and databases while events flow, and single calls of the stores: all in their long form
	cd internal/e2e && go test -count=1 -timeout=60m
	for dir in internal/storemodel store/sqlite store/postgres; do \
		(cd $$dir && go test -count=1 -timeout=60m -run='^TestModel$$' .) || exit 1; \
	done

.PHONY: bench-once
bench-once: ## Run every benchmark one short turn, to see that it still works
	@grep -rlE --include='*_test.go' '^func Benchmark' . | xargs -n 1 dirname | sort -u | while read -r dir; do \
		echo "== $$dir" && (cd "$$dir" && GOWORK=off go test -short -run='^$$' -bench=. -benchtime=1x .) || exit 1; \
	done
	cd internal/bench && GOWORK=off go run . -short

.PHONY: bench
bench: ## Compare with the peers and the ceiling in about eight minutes; ARGS='-only expression' selects
	@cd internal/bench && GOWORK=off go run . $(ARGS)

.PHONY: bench-full
bench-full: ## Run all benchmarks, and that comparison at full size
	$(call each_module,go test -run='^$$' -bench=. -benchmem ./...)
	cd internal/bench && GOWORK=off go run . -full $(ARGS)

.PHONY: ci
ci: ## Everything that must pass before a change is merged
	.ci/run
