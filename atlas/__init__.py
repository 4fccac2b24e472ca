"""Turns a folder of severity-graded medical photographs into a static teaching atlas.

The names below are the public ones. Records (`Dataset`, `Scores`, `Patches`, ...) lie in `atlas.records`.
"""

from atlas.build import build_atlas
from atlas.config import load_configuration
from atlas.dataset import read_dataset
from atlas.errors import AtlasError
from atlas.evaluation import evaluate
from atlas.preprocess import prepare, read_photograph
from atlas.saliency import saliency_maps
from atlas.scorer import load_scorer
from atlas.site.render import render_site
from atlas.synthetic import write_cohort

__all__ = [
    "AtlasError",
    "build_atlas",
    "evaluate",
    "load_configuration",
    "load_scorer",
    "prepare",
    "read_dataset",
    "read_photograph",
    "render_site",
    "saliency_maps",
    "write_cohort",
]
