# One front door: every verb is one line of `make help`. A setting of .env is given as `make up VIGIE_RATE=25`.
.DEFAULT_GOAL := help
.PHONY: help up down status logs journey test check audit test-long images test-compose secrets drill gameday soak rebuild bench forget tools environment there

PYTHON := .venv/bin/python
BROKERS ?=
WHAT ?=
FOLLOW ?=
TRACE ?=
SIDE_BY_SIDE := -n 2 --dist loadfile --no-loadscope-reorder
SHAPE := $(if $(BROKERS),VIGIE_BROKERS=$(BROKERS))

help: ## these lines
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s%s\n", $$1, $$2 }' Makefile

up: tools ## everything runs and users are in both stores (BROKERS=1: the light shape, 3.9 GB of memory)
	@$(SHAPE) $(PYTHON) -m engines up

down: there ## everything stops; data and logs stay
	@$(PYTHON) -m engines down

status: there ## what runs, and how far users have come
	@$(PYTHON) -m engines status

logs: there ## the end of a program's log (WHAT=spark, FOLLOW=1), or one trace's lines from all (TRACE=id)
	@$(PYTHON) -m engines logs --what "$(WHAT)" --trace "$(TRACE)" $(if $(FOLLOW),--follow)

journey: there ## one user's way through every hop (USER=uuid)
	@$(PYTHON) -m services.journey "$(if $(filter command,$(origin USER)),$(USER))"

forget: there ## one person is removed from MongoDB and the outbox (USER=uuid)
	@$(PYTHON) -m services.forget "$(if $(filter command,$(origin USER)),$(USER))"

audit: there ## compare every hop with the one before it, user by user
	@$(PYTHON) -m services.audit

rebuild: there ## Cassandra's sums anew from MongoDB's users, while Spark's lanes rest
	@$(PYTHON) -m engines without spark $(PYTHON) -m spark.rebuild

drill: there ## break a part on purpose, and count: NAME=broker-kill, NAME=all; without a name they are listed
	@$(PYTHON) -m chaos $(NAME)

gameday: there ## drills drawn by a seed, also over each other: MINUTES=20 SEED=7
	@$(PYTHON) -m chaos --gameday $(or $(MINUTES),20) $(if $(SEED),--seed $(SEED))

soak: there ## steady load for HOURS=1, with a fault every few minutes, and a verdict on what grows
	@$(PYTHON) -m chaos --soak $(or $(HOURS),1) $(if $(SEED),--seed $(SEED))

bench: ## measure, against peers and the parts' limits: WHAT=ingest, SHORT=1, LONG=1, ROUNDS=9, AGAINST=earlier.json (docs/performance.md)
	@engines/bootstrap.sh engines --group peers
	@$(PYTHON) -m engines.fetch
	@$(PYTHON) -m bench $(WHAT) $(if $(SHORT),--short) $(if $(LONG),--long) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(AGAINST),--against $(AGAINST))

check: environment ## style, types, arrows and the tests that need no engine
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/pytest $(SIDE_BY_SIDE) -m "not engines"

test: tools ## check, then the tests on the real engines but the long ones, beside a running system
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	$(PYTHON) -m engines.fetch
	.venv/bin/pytest $(SIDE_BY_SIDE) --durations=25 -m "not long"

test-long: tools ## the tests that take minutes each: every alert fired and cleared, the light shape, a Spark cluster
	$(PYTHON) -m engines.fetch
	.venv/bin/pytest $(SIDE_BY_SIDE) --durations=25 -m long

images: tools ## the images of docker-compose.offline.yml, from package registries alone (as root: debootstrap)
	@images/offline.sh

test-compose: images ## docker compose up for real, with these images: kills, down and up, audit
	TEST_COMPOSE=1 .venv/bin/pytest -s -x tests/test_compose

secrets: ## the passwords that docker compose up has made
	@docker compose exec auditor python3 -m services.secrets --show

tools:
	@engines/bootstrap.sh engines

environment:
	@engines/bootstrap.sh

there:
	@test -x $(PYTHON) || { echo "nothing was set up here yet: make up"; exit 1; }
