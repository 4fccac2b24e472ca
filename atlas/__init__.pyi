from .agreement.evaluation import evaluate as evaluate
from .cohort.dataset import read_dataset as read_dataset
from .config import load_configuration as load_configuration
from .drawn.cohort import write_cohort as write_cohort
from .errors import AtlasError as AtlasError
from .explain.methods import saliency_maps as saliency_maps
from .photographs.decode import read_photograph as read_photograph
from .photographs.preparations import prepare as prepare
from .pipeline.build import build_atlas as build_atlas
from .scorers.bundle import load_scorer as load_scorer
from .site.render import render_site as render_site

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
