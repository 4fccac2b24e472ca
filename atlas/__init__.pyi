from atlas.agreement.evaluation import evaluate as evaluate
from atlas.cohort.dataset import read_dataset as read_dataset
from atlas.config import load_configuration as load_configuration
from atlas.drawn.cohort import write_cohort as write_cohort
from atlas.errors import AtlasError as AtlasError
from atlas.explain.methods import saliency_maps as saliency_maps
from atlas.photographs.decode import read_photograph as read_photograph
from atlas.photographs.preparations import prepare as prepare
from atlas.pipeline.build import build_atlas as build_atlas
from atlas.scorers.bundle import load_scorer as load_scorer
from atlas.site.render import render_site as render_site

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
