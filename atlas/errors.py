"""The errors that atlas raises on purpose, as one tree.

AtlasError
 +-- ConfigurationError      settings that cannot be used; lists every fault at once
 +-- DatasetError            no usable photographs, or a grade table that cannot be understood
 |    +-- UnreadableImageError   one file is not a photograph; a build leaves it out and goes on
 +-- ScorerError             a bundle or a trunk's weights that cannot be used
 |    +-- WeightsMissingError    weights are not on this machine and cannot be fetched
 +-- TrainingError           graded photographs from which nothing can be learned, or a checkpoint of another training
 +-- StoreError              the store or the output folder cannot be read or written
 +-- EngineError             the cluster on which the work runs cannot do it
 +-- PrivacyError            a finished site holds what it must not: private text, metadata or active content

Every message names the file, row or setting, says what was expected, and what to do.
"""

from __future__ import annotations


class AtlasError(Exception):
    """Base of all errors that atlas raises on purpose.

    Parameters
    ----------
    message : str
        What is wrong, naming the file, row or setting.
    remedy : str
        What the user can do about it; empty if nothing can be said.
    """

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message if not remedy else f"{message}\n  What to do: {remedy}")
        self.message = message
        self.remedy = remedy


class ConfigurationError(AtlasError):
    """Settings that cannot be used."""


class DatasetError(AtlasError):
    """No usable photographs, or a grade table that cannot be understood."""


class UnreadableImageError(DatasetError):
    """One file cannot be decoded as a photograph."""


class ScorerError(AtlasError):
    """A scorer bundle or a trunk's weights cannot be used."""


class WeightsMissingError(ScorerError):
    """Weights are not on this machine and cannot be fetched."""


class TrainingError(AtlasError):
    """Graded photographs from which nothing can be learned, or a checkpoint of another training."""


class StoreError(AtlasError):
    """The store or the output folder cannot be read or written."""


class EngineError(AtlasError):
    """The cluster on which the work runs cannot do it."""


class PrivacyError(AtlasError):
    """A finished site holds what it must not: private text, metadata, active content or an outside address."""
