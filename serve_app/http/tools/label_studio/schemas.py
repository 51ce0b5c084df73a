"""Bodies and answers of an ML backend, as Label Studio 1.23 writes and reads them."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from serve_app.http.schemas import Label, RequestModel, ResponseModel

MOST_TASKS = 1000
MOST_DRAWN = 256
Percent = Annotated[float, Field(ge=-1000, le=1000, allow_inf_nan=False)]
Pixels = Annotated[int, Field(ge=1, le=10_000_000)]


class LabelStudioSetup(RequestModel):
    """A project introduces itself."""

    project: Annotated[str, Field(max_length=200)]
    """Its id and the time of its birth, `12.1700000000`."""
    label_schema: Annotated[str, Field(alias="schema")] = ""
    """The labelling configuration."""
    hostname: Annotated[str, Field(max_length=2000)] | None = None
    """The address of Label Studio."""
    access_token: Annotated[str, Field(max_length=8000)] | None = None
    """The token for its images."""


class LabelStudioDrawnValue(RequestModel):
    """What an annotator drew, in percent of the image, and its labels under the name of the region's type."""

    model_config = ConfigDict(extra="allow")

    x: Percent | None = None
    y: Percent | None = None
    width: Percent | None = None
    height: Percent | None = None
    text: list[str] | str | None = None


class LabelStudioDrawn(RequestModel):
    """One region of the context."""

    type: Annotated[str, Field(max_length=100)]
    to_name: str | None = None
    original_width: Pixels | None = None
    original_height: Pixels | None = None
    is_positive: Label | None = None
    value: LabelStudioDrawnValue

    @property
    def label(self) -> str | None:
        """The region's first label."""
        extra = self.value.model_extra or {}
        names = extra.get(self.type) or extra.get("labels")
        return names[0] if isinstance(names, list) and names and isinstance(names[0], str) else None


class LabelStudioContext(RequestModel):
    """What an annotator drew with smart tools."""

    result: Annotated[list[LabelStudioDrawn], Field(max_length=MOST_DRAWN)] = Field(default_factory=list)


class LabelStudioParams(RequestModel):
    """Options of a request."""

    context: LabelStudioContext | None = None


class LabelStudioTask(RequestModel):
    """A task, with the data to be labelled."""

    id: int | None = None
    data: dict[str, Any]


class LabelStudioPredict(RequestModel):
    """Predictions are asked for."""

    tasks: Annotated[list[LabelStudioTask], Field(min_length=1, max_length=MOST_TASKS)]
    label_config: str
    project: Annotated[str, Field(max_length=200)] | None = None
    params: LabelStudioParams | None = None


class LabelStudioHealth(ResponseModel):
    """The server would answer now."""

    status: str
    model_class: str


class LabelStudioModelVersion(ResponseModel):
    """The model that answers."""

    model_version: str


class LabelStudioVersions(ResponseModel):
    """The models that can be asked."""

    versions: list[str]


class LabelStudioPrediction(ResponseModel):
    """The regions of one task."""

    result: list[dict[str, Any]]
    score: float
    model_version: str


class LabelStudioPredictions(ResponseModel):
    """One prediction for each task."""

    results: list[LabelStudioPrediction]
    model_version: str


class LabelStudioReceived(ResponseModel):
    """The message came; nothing follows from it."""

    status: str


class LabelStudioError(ResponseModel):
    """An error."""

    error: str
    detail: str
    """The same: Label Studio shows this one."""
