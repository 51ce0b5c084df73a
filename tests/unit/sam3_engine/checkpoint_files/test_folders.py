import pytest

from sam3_engine.checkpoint_files.folders import PREFERRED, beside, checkpoint_in, why_none


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["sam3.pt", "model.safetensors", "config.json"], "sam3.pt"),
        (["model.safetensors", "config.json"], "model.safetensors"),
        (
            ["model.safetensors.index.json", "model-00001-of-00002.safetensors"],
            "model.safetensors.index.json",
        ),
        (["adapter_model.safetensors", "adapter_config.json", "optimizer.pt"], "adapter_model.safetensors"),
        (["sam3.pt", "adapter_model.safetensors", "adapter_config.json"], None),
        (["adapter_model.safetensors", "adapter_model.bin"], "adapter_model.safetensors"),
        (["checkpoint.pt", "log.txt"], "checkpoint.pt"),
        (["one.pt", "two.pt"], None),
        (["log.txt"], None),
        ([], None),
    ],
)
def test_the_checkpoint_among_files(names: list[str], chosen: str | None) -> None:
    assert checkpoint_in(names) == chosen


def test_why_there_is_none() -> None:
    assert "(one.pt, two.pt): name one of them" in why_none(["two.pt", "one.pt"])
    assert PREFERRED[0] in why_none([])


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("sam3.pt", ()),
        ("run/adapter_model.safetensors", ("run/adapter_config.json",)),
        ("model.safetensors", ("config.json",)),
        ("model.safetensors.index.json", ("config.json",)),
    ],
)
def test_what_belongs_to_a_file(name: str, others: tuple[str, ...]) -> None:
    assert beside(name) == others
