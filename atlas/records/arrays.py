"""Types of arrays, named after their numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

IntArray = NDArray[np.int64]

ByteArray = NDArray[np.uint8]

BoolArray = NDArray[np.bool_]
