# A thin front to scripts/dev.py, which needs only Python 3.11 and pip. Without make: python scripts/dev.py test
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
ARGS ?=

.PHONY: demo test coverage lint soak bench build clean
demo test coverage lint soak bench build clean:
	@$(if $(PYTHON),,$(error Python 3.11 or newer is needed, and none was found))$(PYTHON) scripts/dev.py $@ $(ARGS)
