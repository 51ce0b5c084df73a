"""The engine's models provider (`roboflow_workflows.prototypes.models_provider`) in a worker: it sends SAM 3 calls to
the runner. Answers have the attributes that the SAM 3 blocks read; `masks` are encoded as on the HTTP routes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from roboflow_workflows.errors import ClientCausedStepExecutionError
from roboflow_workflows.execution_engine.v1.dynamic_blocks.workflow_debug import current_debug_step_name
from roboflow_workflows.prototypes.models_provider import UNSET

from deployments.workflows.class_names import named
from deployments.workflows.frames import Header
from deployments.workflows.images import RunImages

INTERACTIVE = "sam3/sam3_interactive"
"""The interactive block's name for the model: it stands for the server's default model."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """One mask."""

    masks: Any
    confidence: float


@dataclass(frozen=True, slots=True)
class PromptResult:
    """The masks of one prompt."""

    prompt_index: int
    predictions: Sequence[Prediction]


@dataclass(frozen=True, slots=True)
class Concepts:
    """The answer to concept prompts."""

    prompt_results: Sequence[PromptResult]


@dataclass(frozen=True, slots=True)
class Masks:
    """The answer to clicks and boxes: one mask per prompt."""

    predictions: Sequence[Prediction]


class Ask(Protocol):
    """A function that calls the runner's models and blocks until the answer is there. Raises ModelCallFailed."""

    def __call__(self, header: Header, parts: Sequence[bytes | memoryview]) -> Any:
        """The results that the runner sent."""
        ...


class ModelCallFailed(Exception):
    """The runner refused a call, or could not answer it. `status`: the HTTP status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Sam3Provider:
    """Provides the server's models of SAM 3 and refuses every other one. Safe for the engine's threads."""

    content_addressed_artifact_cache = None

    def __init__(self, ask: Ask, images: RunImages, model_ids: Sequence[str]) -> None:
        self._ask = ask
        self._images = images
        self._model_ids = {*model_ids, INTERACTIVE}

    def add_model(self, model_id: str, api_key: str | None = None, *_: Any, **__: Any) -> None:
        """Checks that this server serves the model. Loads nothing: the replicas hold the model."""
        if model_id not in self._model_ids:
            served = ", ".join(sorted(self._model_ids))
            raise self.refusal(f"this server does not serve {str(model_id)[:100]!r}: it serves {served}", 404)

    def run_sam3_segmentation(
        self,
        model_id: str,
        image: Any,
        prompts: list[dict[str, Any]],
        api_key: str | None = None,
        output_prob_thresh: Any = UNSET,
        nms_iou_threshold: Any = UNSET,
        format: Any = UNSET,
    ) -> list[Concepts]:
        """Every instance of each concept. A prompt without a name finds nothing, where others have one."""
        self.add_model(model_id)
        asked = named(prompts) or range(len(prompts))
        header = {
            "method": "concept",
            "model": _named(model_id),
            "prompts": [prompts[index] for index in asked],
            "threshold": _given(output_prob_thresh),
            "nms": _given(nms_iou_threshold),
            "format": _given(format),
        }
        results = dict(zip(asked, self.call(header, image), strict=True))
        # The block knows a result's class by its place.
        found = [PromptResult(index, _predictions(results.get(index, ()))) for index in range(len(prompts))]
        return [Concepts(found)]

    def run_sam2_segmentation(
        self,
        model_id: str,
        image: Any,
        prompts: list[dict[str, Any]],
        api_key: str | None = None,
        version_id: Any = UNSET,
        request_model_id: Any = UNSET,
        multimask_output: Any = UNSET,
        threshold: Any = UNSET,
    ) -> list[Masks]:
        """One mask per prompt of clicks and/or a box."""
        self.add_model(model_id)
        header = {
            "method": "visual",
            "model": _named(model_id),
            "prompts": prompts,
            "multimask": _given(multimask_output),
        }
        return [Masks(_predictions(self.call(header, image)))]

    def call(self, header: Header, image: Any = None) -> Any:
        """The runner's results. image: what it is about, in the engine's order of channels. Raises the engine's error
        for clients."""
        try:
            if image is None:
                return self._ask(header, [])
            description, parts = self._images.describe(image)
            return self._ask({**header, "image": description}, parts)
        except ModelCallFailed as error:
            raise self.refusal(str(error), error.status) from None
        except ValueError as error:
            raise self.refusal(str(error), 400) from None

    @staticmethod
    def refusal(message: str, status: int) -> Exception:
        """The engine's error for a step that fails by its client's fault."""
        refusal: Exception = ClientCausedStepExecutionError(
            block_id=current_debug_step_name.get() or "",
            status_code=status,
            public_message=message,
            context="workflow_execution | step_execution",
        )
        return refusal

    def __contains__(self, model_id: str) -> bool:
        return model_id in self._model_ids

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def refuse(*_: Any, **__: Any) -> Any:
            raise self.refusal("this server has only SAM 3: this block's model is not there", 400)

        if name.startswith("__"):
            raise AttributeError(name)
        return refuse


def _named(model_id: str) -> str | None:
    return None if model_id == INTERACTIVE else model_id


def _predictions(instances: Sequence[dict[str, Any]]) -> list[Prediction]:
    return [Prediction(one["masks"], one["confidence"]) for one in instances]


def _given(value: Any) -> Any:
    return None if value is UNSET else value
