"""One tenant beside another one's flood. `drills/fairness.py` prints the figures."""

from pathlib import Path

from harness.programs import report_of


def test_an_annotator_is_never_refused_beside_a_flood_and_the_flood_gets_on(tmp_path: Path) -> None:
    found = report_of("drills.fairness", tmp_path)
    assert found["annotator beside a crowd (as without shares)"]["refused"] > 0, "the flood is one"
    for name in ("annotator alone", "annotator beside the labeller", "annotator beside the rival"):
        assert found[name]["answered"] > 0
        assert found[name]["refused"] == 0
        assert not found[name]["failed"]
    for name in ("labeller alone", "labeller beside the annotator", "rival beside the annotator"):
        assert found[name]["answered"] > 0
        assert not found[name]["failed"]
