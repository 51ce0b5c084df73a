"""The prompts of a run's SAM 3 steps. They come from a worker, and are checked like those of requests from outside."""

from collections.abc import Sequence
from typing import Any

from deployments.protocol import ConceptRequest, PromptRequest, VisualRequest
from deployments.workflows.frames import Header
from sam3_engine.prompt_forms import Sam3Prompt, visual_prompts
from sam3_engine.prompt_values import share
from sam3_engine.types import ConceptPrompt, MaskFormat, VisualPrompt

MOST_CONCEPTS = 16
MOST_VISUAL = 256
MOST_POINTS = 256
MOST_CHARACTERS = 1000
FORMATS: dict[str | None, MaskFormat] = {None: "polygon", "polygon": "polygon", "rle": "rle"}


def request_of(header: Header) -> PromptRequest[Any]:
    """The request of a step about an image. Raises as the two functions below."""
    return concept_request(header) if header["method"] == "concept" else visual_request(header)


def concept_request(header: Header) -> ConceptRequest:
    """The request of a concept step. Raises ValueError, TypeError and KeyError for a malformed header."""
    prompts = concepts_of(header["prompts"], header.get("threshold"))
    nms = header.get("nms")
    if nms is not None:
        share(nms, "nms_iou_threshold")
    return ConceptRequest(prompts, nms, mask_format=FORMATS[header.get("format")])


def visual_request(header: Header) -> VisualRequest:
    """The request of an interactive step. Raises ValueError, TypeError and KeyError for a malformed header."""
    return VisualRequest(visuals_of(header["prompts"]), multimask=header.get("multimask") is not False)


def concepts_of(given: Sequence[Any], threshold: Any = None) -> list[ConceptPrompt]:
    """Concepts. Raises ValueError and TypeError for malformed ones, and for none or too many."""
    if not 1 <= len(given) <= MOST_CONCEPTS:
        raise ValueError(f"it takes 1 to {MOST_CONCEPTS} classes at once, not {len(given)}")
    prompts = [Sam3Prompt.of(one).concept(0.5 if threshold is None else threshold) for one in given]
    for prompt in prompts:
        if prompt.text is not None and len(prompt.text) > MOST_CHARACTERS:
            raise ValueError(f"a class name is longer than {MOST_CHARACTERS} characters")
        if len(prompt.boxes) > MOST_POINTS:
            raise ValueError(f"it takes {MOST_POINTS} example boxes, not {len(prompt.boxes)}")
    return prompts


def visuals_of(given: Any, most: int = MOST_VISUAL) -> list[VisualPrompt]:
    """Clicks and boxes. Raises ValueError and TypeError for malformed ones, and for too many."""
    prompts = visual_prompts(given)
    if len(prompts) > most:
        raise ValueError(f"it takes {most} points or boxes at once, not {len(prompts)}")
    for prompt in prompts:
        if len(prompt.points) > MOST_POINTS:
            raise ValueError(f"it takes {MOST_POINTS} points, not {len(prompt.points)}")
    return prompts
