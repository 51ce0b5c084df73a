"""The compact embedding, which the service keeps of an image between requests. Needs numpy only, in any process."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Embedding:
    """One image's trunk output and interactive (PVS) features.

    arrays: "trunk" [g, g, vit_dim], "pvs_fine" [4g, 4g, d/8], "pvs_middle" [2g, 2g, d/4], "pvs_coarse" [g, g, d], all
    with channels last, as the model computes them: float32, or bfloat16 viewed as uint16 (numpy has no bfloat16; with
    the view, reads from shared memory copy nothing). Arrays may be read-only. At the official size in bfloat16 they
    take 21 MB; both pyramids, which the package keeps, take 223 MB.

    `version` names the weights that encode, the images' preprocessing, this layout and the dtype
    (`engine.embedding_version`); an engine refuses embeddings of another version.
    """

    version: str
    arrays: Mapping[str, npt.NDArray[np.generic]]

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays together."""
        return sum(array.nbytes for array in self.arrays.values())
