"""The compact embedding: what is kept of an image between requests. numpy only, so that any process can hold it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Embedding:
    """One image's trunk output and interactive (PVS) features.

    arrays: "trunk" [vit_dim, g, g], "pvs_fine" [d/8, 4g, 4g], "pvs_middle" [d/4, 2g, 2g], "pvs_coarse" [d, g, g],
    float32, or bfloat16 seen as uint16 (numpy has no bfloat16; the view is what makes reads from shared memory
    zero-copy). They may be read-only. At the official size in bfloat16 that is 21 MB; keeping both pyramids as the
    package does takes 223 MB.

    `version` names the model, its weights and this layout; an engine refuses embeddings of another version.
    """

    version: str
    arrays: Mapping[str, npt.NDArray[np.generic]]

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays together."""
        return sum(array.nbytes for array in self.arrays.values())
