EXTENSION = hypercube
EXTVERSION := $(shell sed -n "s/^default_version = '\(.*\)'$$/\1/p" hypercube.control)
PARTS := $(sort $(wildcard sql/[0-9][0-9]_*.sql))

DATA = $(wildcard sql/upgrade/*.sql)
DATA_built = sql/$(EXTENSION)--$(EXTVERSION).sql
EXTRA_CLEAN = $(wildcard sql/$(EXTENSION)--*.sql)
NO_INSTALLCHECK = 1

# PL/Python's interpreter, which is seldom the first python3 on the path.
PYTHON ?= /usr/bin/python3
PYTHON_FOLDER ?= /usr/local/lib/hypercube
INSTALL_PYTHON = $(PYTHON) scripts/install-python --folder '$(PYTHON_FOLDER)' --destdir '$(DESTDIR)' \
	$(if $(WITHOUT_PYTHON_PACKAGES),--without-packages)

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# Always looked at, because a part that went away leaves no newer file behind; written only when it differs.
$(DATA_built): $(PARTS) FORCE
	@test -n '$(PARTS)' || { echo 'no parts found in sql/' >&2; exit 1; }
	@cat $(PARTS) > $@.new && if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@ && echo 'built $@'; fi

install: install-python
install-python: all
	$(INSTALL_PYTHON)

uninstall: uninstall-python
uninstall-python:
	$(INSTALL_PYTHON) --uninstall

installcheck:
	@test -x .local/venv/bin/pytest || { echo 'run scripts/setup first' >&2; exit 1; }
	PG_CONFIG='$(PG_CONFIG)' .local/venv/bin/pytest tests

dist:
	git -c safe.directory='$(CURDIR)' archive --format=zip --prefix=$(EXTENSION)-$(EXTVERSION)/ --output=$(EXTENSION)-$(EXTVERSION).zip HEAD

.PHONY: FORCE install-python uninstall-python installcheck dist
