from pathlib import Path

import torch

from sam3_engine.engine import Engine
from sam3_engine.spec import TINY
from scripts.random_checkpoint import write


def test_a_checkpoint_of_the_official_layout_is_loaded_by_each_role(tmp_path: Path) -> None:
    path = tmp_path / "weights" / "sam3.pt"
    write(path, TINY)
    names = torch.load(path, weights_only=True)
    assert all(name.startswith(("detector.", "tracker.")) for name in names)
    assert "tracker.maskmem_tpos_enc" in names, "the official file has the parts for videos"
    encoder, decoder = (
        Engine.load("tiny", role=role, checkpoint=str(path), device="cpu") for role in ("encoder", "decoder")
    )
    assert encoder.embedding_version == decoder.embedding_version


def test_a_seed_names_its_weights(tmp_path: Path) -> None:
    first, again, other = (tmp_path / f"{name}.pt" for name in "abc")
    for path, seed in ((first, 1), (again, 1), (other, 2)):
        write(path, TINY, seed)
    one, same, another = (torch.load(path, weights_only=True) for path in (first, again, other))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], another[name]) for name in one)
