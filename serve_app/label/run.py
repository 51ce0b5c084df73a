"""One run of `sam3-serve label`: what is left to do is labelled, and the formats are written from all there is."""

import platform
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Protocol

import pyarrow as pa

from deployments.observe.metrics import Metrics
from serve_app.label.catalogue import Catalogue
from serve_app.label.choosing import Split
from serve_app.label.dataset import Dataset, OtherLabels, write_whole
from serve_app.label.formats import export
from serve_app.label.labelling import Labelling, differences
from serve_app.label.lists import SourceImage
from serve_app.label.report import NAME as REPORT
from serve_app.label.report import write_report
from serve_app.label.rows import LABELLED
from serve_app.label.sources import Listing
from serve_app.label.tally import Tally
from serve_app.label.writer import Stop, write_all

FAILED = "the process that worked on it died or failed each time"
VERSIONS = ("sam3-serve", "sam3", "torch", "ray", "pyarrow", "numpy")


@dataclass(frozen=True, slots=True)
class Results:
    """The files to write. formats: names of `formats.FORMATS`. linked: see `catalogue.LabelledImage`."""

    formats: Sequence[str]
    split: Split
    linked: bool = True


class NothingLabelled(Exception):
    """Each image failed: none of them is the reason."""


class Labeller(Protocol):
    """Finds the objects of images. An image whose process dies again and again may be missing from the tables."""

    def __call__(self, images: Sequence[SourceImage], one_by_one: bool) -> Generator[pa.Table, None, None]:
        """Tables of `rows.LABELLED`. one_by_one: no image shares its fate with another."""
        ...


class Run:
    """A run on an open data set. command: what was typed, for the manifest.

    Raises OtherLabels where the data set was begun in another way, and BrokenDataset.
    """

    def __init__(
        self, dataset: Dataset, labelling: Labelling, listing: Listing, command: Sequence[str]
    ) -> None:
        self._dataset = dataset
        self._labelling = labelling
        self._listing = listing
        before = dataset.manifest()
        if before and (found := differences(before["labels"], labelling.document())):
            raise OtherLabels(
                f"{dataset.folder} was begun with other labels:\n  " + "\n  ".join(found) + "\n"
                "Choose another folder, or pass --restart to remove those labels and begin again."
            )
        self._rate: float | None = before.get("images_per_second")
        self._weights: str | None = before.get("weights")
        self._command = list(command)
        done = dataset.done()
        self.left = [image for image in listing.images if not done.get(image.location, False)]
        self.done = len(listing.images) - len(self.left)

    def label(
        self,
        results: Labeller,
        stop: Stop,
        show: Callable[[str], None],
        metrics: Metrics | None = None,
    ) -> bool:
        """Label what is left. Returns whether all is done.

        Raises OtherLabels where the model has other weights than before, NothingLabelled, and the pipeline's errors.
        """
        self._describe("begun", {})
        self._dataset.tell_errors(self._listing.refused)
        tally = Tally(len(self.left), metrics)
        missing = {image.location: image for image in self.left}

        def seen(table: pa.Table) -> None:
            self._check_weights(table)
            tally.add(table)
            for location in table["location"].to_pylist():
                missing.pop(location, None)

        complete = True
        for one_by_one in (False, True):
            if complete and missing:
                tables = results(list(missing.values()), one_by_one)
                complete = write_all(tables, self._dataset, stop, seen, lambda: show(tally.line()))
        if complete and len(missing) == len(self.left):
            raise NothingLabelled(f"no image could be labelled: {FAILED}. Ray's logs say why.")
        if complete and missing:
            failed = [
                {"location": one.location, "name": one.name, "error": FAILED} for one in missing.values()
            ]
            self._dataset.add(pa.Table.from_pylist(failed, schema=LABELLED))
        self._rate = tally.rate or self._rate
        show(tally.line())
        return complete

    def finish(self, complete: bool, wanted: Results, show: Callable[[str], None]) -> dict[str, Any]:
        """Write the formats, the errors and the manifest. Returns the manifest."""
        counts: Counter[str] = Counter()
        names = [one.name for one in self._labelling.classes]
        catalogue = Catalogue(self._dataset, names, wanted.split, wanted.linked)
        if complete:
            for name in wanted.formats:
                show(f"writing {name}")
                export(catalogue, name, self._dataset.folder)
        for row in self._dataset.images(["objects"]):
            counts.update(one["class"] for one in row["objects"])
        manifest = self._describe(
            "complete" if complete else "stopped",
            {
                "images": len(catalogue),
                "errors": self._dataset.tell_errors(self._listing.refused),
                "objects": {one.name: counts[one.name] for one in self._labelling.classes},
            },
        )
        if complete:
            show("writing the report")
            path = self._dataset.folder / REPORT
            write_whole(path, lambda made: write_report(catalogue, manifest, made))
        return manifest

    def _check_weights(self, table: pa.Table) -> None:
        for weights in table["model"].drop_null().unique().to_pylist():
            if self._weights is None:
                self._weights = weights
                self._describe("begun", {})
            elif weights != self._weights:
                raise OtherLabels(
                    f"{self._dataset.folder} was begun with other weights: {self._weights} before, {weights} now.\n"
                    "Choose another folder, or pass --restart to remove those labels and begin again."
                )

    def _describe(self, state: str, counts: dict[str, Any]) -> dict[str, Any]:
        manifest = {
            "format": 1,
            "state": state,
            "command": self._command,
            "labels": self._labelling.document(),
            "weights": self._weights,
            "versions": {"python": platform.python_version(), **{name: version(name) for name in VERSIONS}},
            "images_per_second": self._rate,  # of the last run that labelled some
            "counts": counts,
        }
        self._dataset.describe(manifest)
        return manifest
