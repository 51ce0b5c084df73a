"""Calls Roboflow's execution engine for one question at a time. Only workers import this, after `configure()`.

Requests, answers and errors are those of the package's own http_contract, except that errors have no stack traces.
"""

import copy
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import ValidationError
from roboflow_workflows.core_steps.common.serializers import serialize_wildcard_kind
from roboflow_workflows.execution_engine.core import ExecutionEngine, get_available_versions
from roboflow_workflows.http_contract.describe import (
    describe_workflow_interface,
    describe_workflows_blocks,
    filter_out_unwanted_workflow_outputs,
)
from roboflow_workflows.http_contract.entities import (
    ExecutionEngineVersions,
    WorkflowInferenceResponse,
    WorkflowSpecificationInferenceRequest,
    WorkflowValidationStatus,
)
from roboflow_workflows.http_contract.errors import workflow_error_payload
from roboflow_workflows.prototypes.block import StepExecutionMode
from roboflow_workflows.prototypes.observer import NULL_EXECUTION_OBSERVER, NullExecutionObserver

from deployments.workflows.class_names import tidy_definition
from deployments.workflows.images import RunImages
from deployments.workflows.inputs import put
from deployments.workflows.policy import Policy, RefusedDefinition
from deployments.workflows.provider import Ask, Sam3Provider
from deployments.workflows.step_pool import StepPool
from deployments.workflows.video_steps import VideoObserver
from sam3_engine.errors import ImageTooLarge, UnreadableImage

_REPR = re.compile(rb'<[^<>"\\]{1,300} at 0x[0-9a-f]{4,16}>')
"""Python's text for an object without a text of its own, as steps put it into theirs."""
CONCURRENT_STEPS = 4
"""Steps of one run that may wait for masks, or compute, at the same time."""


@dataclass(frozen=True, slots=True)
class EngineSetup:
    """The settings that all runs of this server share."""

    policy: Policy
    model_ids: Sequence[str]
    max_image_pixels: int


def answer(
    setup: EngineSetup, header: dict[str, Any], files: Sequence[bytes], ask: Ask, steps: StepPool
) -> tuple[int, bytes]:
    """Status and JSON body. Never raises: an unexpected error becomes a 500 that holds only the error's text.

    steps: a pool of CONCURRENT_STEPS threads, all idle again when this returns.
    """
    images = RunImages(files, setup.max_image_pixels)
    provider = Sam3Provider(ask, images, setup.model_ids)
    try:
        body = ANSWERS[header["question"]](setup, header, images, provider, steps)
        try:
            return 200, _dump(body)
        except orjson.JSONEncodeError:
            return 400, _dump(
                {
                    "message": "an output holds a value that JSON cannot hold, such as an integer beyond 64 bits"
                }
            )
    except RefusedDefinition as error:
        return 400, _dump(error.payload())
    except ValidationError as error:
        return 422, _dump({"detail": _complaints(error)})
    except ImageTooLarge as error:
        return 413, _dump({"message": str(error)})
    except UnreadableImage as error:
        return 400, _dump({"message": str(error)})
    except Exception as error:
        status, body = workflow_error_payload(error) or (500, {"message": "Internal error."})
        return status, _dump(_without_traces(body))
    finally:
        steps.drain()


def _run(
    setup: EngineSetup, header: dict[str, Any], images: RunImages, provider: Sam3Provider, steps: StepPool
) -> Any:
    request = WorkflowSpecificationInferenceRequest.model_validate(header["document"])
    setup.policy.check(request.specification)
    decoding = {
        file: steps.submit(images.decode, file) for file in {place["file"] for place in header["places"]}
    }
    observer = VideoObserver(provider, _videos(header["places"]))
    engine = _engine(tidy_definition(request.specification), provider, steps, observer, request.workflow_id)
    for place in header["places"]:
        value = {**place["extras"], "type": "numpy_object", "value": decoding[place["file"]].result()}
        put(request.inputs, place["path"], value)
    try:
        outputs = engine.run(runtime_parameters=request.inputs, serialize_results=True)
    finally:
        engine.close()
    kept = filter_out_unwanted_workflow_outputs(outputs, request.excluded_fields)
    return WorkflowInferenceResponse(outputs=kept).model_dump(exclude_none=True)


def _validate(
    setup: EngineSetup, header: dict[str, Any], _: RunImages, provider: Sam3Provider, steps: StepPool
) -> Any:
    setup.policy.check(header["document"])
    _engine(tidy_definition(header["document"]), provider, steps, NULL_EXECUTION_OBSERVER).close()
    return WorkflowValidationStatus(status="ok").model_dump()


def _describe_interface(setup: EngineSetup, header: dict[str, Any], *_: Any) -> Any:
    setup.policy.check(header["document"])
    return describe_workflow_interface(header["document"]).model_dump()


def _describe_blocks(setup: EngineSetup, header: dict[str, Any], *_: Any) -> Any:
    """The package's description of the blocks that setup.policy allows."""
    document = header["document"]
    if document.get("dynamic_blocks_definitions"):
        raise RefusedDefinition("custom Python blocks (dynamic_blocks_definitions) do not run on this server")
    found = describe_workflows_blocks(
        requested_execution_engine_version=document.get("execution_engine_version")
    ).model_dump()
    allows = setup.policy.allows
    found["blocks"] = [block for block in found["blocks"] if allows(block["manifest_type_identifier"])]
    for kind, connections in found["kinds_connections"].items():
        found["kinds_connections"][kind] = [
            one for one in connections if allows(one["manifest_type_identifier"])
        ]
    found["primitives_connections"] = [
        one for one in found["primitives_connections"] if allows(one["manifest_type_identifier"])
    ]
    return found


def _versions(*_: Any) -> Any:
    return ExecutionEngineVersions(versions=get_available_versions()).model_dump()


Answer = Callable[[EngineSetup, dict[str, Any], RunImages, Sam3Provider, StepPool], Any]
ANSWERS: dict[str, Answer] = {
    "run": _run,
    "validate": _validate,
    "describe_interface": _describe_interface,
    "describe_blocks": _describe_blocks,
    "versions": _versions,
}


def _videos(places: Sequence[dict[str, Any]]) -> frozenset[str]:
    """The names that the client gave the videos of its images."""
    about = [place["extras"].get("video_metadata") for place in places]
    names = [one.get("video_identifier") for one in about if isinstance(one, dict)]
    return frozenset(name for name in names if isinstance(name, str))


def _engine(
    definition: dict[str, Any],
    provider: Sam3Provider,
    steps: StepPool,
    observer: NullExecutionObserver,
    workflow_id: str | None = None,
) -> Any:
    return ExecutionEngine.init(
        workflow_definition=copy.deepcopy(definition),  # the engine caches the compiled object
        init_parameters={
            "workflows_core.model_manager": provider,
            "workflows_core.execution_observer": observer,
            "workflows_core.api_key": None,
            "workflows_core.background_tasks": None,
            "workflows_core.thread_pool_executor": None,
            "workflows_core.step_execution_mode": StepExecutionMode.LOCAL,
            "workflows_core.disable_sinks": True,
            "workflows_core.allow_access_to_file_system": False,
            "workflows_core.allowed_write_directory": None,
            "workflows_core.allow_access_to_environmental_variables": False,
        },
        max_concurrent_steps=CONCURRENT_STEPS,
        executor=steps,
        prevent_local_images_loading=True,
        workflow_id=workflow_id,
    )


def _complaints(error: ValidationError) -> list[dict[str, Any]]:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [{"loc": ["body", *one["loc"]], "msg": one["msg"], "type": one["type"]} for one in found]


def _without_traces(body: dict[str, Any]) -> dict[str, Any]:
    for block in body.get("blocks_errors") or []:
        if isinstance(block, dict):
            block["block_traceback"] = None
    return body


def _dump(body: Any) -> bytes:
    """JSON, without the repr of any object: it is of no use to clients, and tells them addresses of the process."""
    options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS
    return _REPR.sub(b"<object>", orjson.dumps(body, default=_plain, option=options))


def _plain(value: Any) -> Any:
    """A value for JSON: as the engine writes it where it knows how, such as an image; else null."""
    if isinstance(value, set | frozenset):
        return list(value)
    plain = serialize_wildcard_kind(value)
    return None if plain is value else plain
