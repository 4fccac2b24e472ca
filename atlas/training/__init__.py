"""Training: heads on frozen trunks, whole networks, and scorers with their cards.

Both eyes of a patient always fall on the same side of a split. Everything is decided by seeds; sums of floats still depend on the
number of threads and on the machine's arithmetic, so the same result to the last bit needs the same machine and
`torch.set_num_threads`, which is the caller's to set.
"""

from atlas.training.card import evaluate_own_test, evaluation_entry, evaluations_on_card, labels_of, write_card
from atlas.training.heads import FoldedHeads, History, fit_classifier, fit_head, fit_out_of_fold
from atlas.training.networks import (
    Augmentation,
    EndToEnd,
    fold_normalisation,
    train_trunk,
    with_normalisation,
)
from atlas.training.scorers import join_scorers, train_scorer
from atlas.training.splits import SPLITS, Balance, balance, folds_by_patient, published_split, split_by_patient

__all__ = [
    "SPLITS",
    "Augmentation",
    "Balance",
    "EndToEnd",
    "FoldedHeads",
    "History",
    "balance",
    "evaluate_own_test",
    "evaluation_entry",
    "evaluations_on_card",
    "fit_classifier",
    "fit_head",
    "fit_out_of_fold",
    "fold_normalisation",
    "folds_by_patient",
    "join_scorers",
    "labels_of",
    "published_split",
    "split_by_patient",
    "train_scorer",
    "train_trunk",
    "with_normalisation",
    "write_card",
]
