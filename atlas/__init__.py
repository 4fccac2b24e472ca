"""Turns a folder of severity-graded medical photographs into a static teaching atlas.

The names below are the public ones. Records (`Dataset`, `Scores`, `Patches`, ...) are in `atlas.records`.
"""

import lazy_loader as _lazy

# Loaded when first used, as `__init__.pyi` lists them, so that `atlas --help` need not wait for the networks' libraries.
__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
