"""What flows between the stages: frozen records of arrays. All are names of this package, whichever module they stand in.

Records are joined by image_id or patch_id, never by position across records. Arrays are read-only by convention.
"Grade units" are the units of the dataset's own scale: with grades 0 to 4, a drop of 0.5 is half a grade.
"""

import lazy_loader as _lazy

# Loaded when first used, as `__init__.pyi` lists them: settings need the scales, not the arrays.
__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
