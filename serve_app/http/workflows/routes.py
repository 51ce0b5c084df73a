"""The routes of Workflows. They check keys and read saved definitions and image files; the runner runs the engine."""

from fastapi import APIRouter, Depends, Request, Response

from deployments.fairness.flows import Share
from deployments.workflows.protocol import Question, WorkflowAnswer
from serve_app.http.around.described import KeptResponse
from serve_app.http.around.exchange import exchange_of
from serve_app.http.context import context_of
from serve_app.http.tenants.auth import OPEN_TENANT
from serve_app.http.workflows.call import (
    answer_of,
    read_document,
    read_run,
    saved_definition,
    specification_of,
    workflows_of,
)
from serve_app.http.workflows.documentation import (
    BLOCKS,
    INTERFACE,
    RUN,
    RUN_SAVED,
    SAVED_INTERFACE,
    VALIDATE,
)

router = APIRouter(tags=["Workflows"], dependencies=[Depends(workflows_of)])


@router.post("/workflows/run", summary="Run a workflow", **RUN)
@router.post("/infer/workflows", summary="Run a workflow (the older route)", **RUN)
async def run(request: Request) -> Response:
    """Run the workflow under `specification` in the request."""
    tenant, document = await read_document(request)
    return await _run(request, tenant, document)


@router.post("/workflows/validate", summary="Check a workflow's definition", **VALIDATE)
async def validate(request: Request) -> Response:
    """Check that the definition in the request's body would run, without running it."""
    _, document = await read_document(request)
    return await _ask(request, "validate", document)


@router.post("/workflows/describe_interface", summary="Inputs and outputs of a workflow", **INTERFACE)
async def describe_interface(request: Request) -> Response:
    """Kinds of the inputs and outputs of the workflow under `specification` in the request."""
    _, document = await read_document(request)
    return await _ask(request, "describe_interface", specification_of(document))


@router.post("/workflows/blocks/describe", summary="Types of steps for a version of the engine", **BLOCKS)
async def describe_blocks_for(request: Request) -> Response:
    """Every allowed type of step that fits `execution_engine_version`, with the schema of its fields."""
    _, document = await read_document(request)
    return await _ask(request, "describe_blocks", {key: value for key, value in document.items() if value})


@router.get("/workflows/blocks/describe", summary="Types of steps that run here")
async def describe_blocks(request: Request) -> Response:
    """Every allowed type of step, with the schema of its fields."""
    context, exchange = context_of(request), exchange_of(request)

    async def ask() -> WorkflowAnswer:
        await context.admission.enter(Share(OPEN_TENANT), exchange)
        return await workflows_of(request).ask("describe_blocks", {}, exchange.timings)

    found = await context.description.get(ask)
    return answer_of(found) if isinstance(found, WorkflowAnswer) else KeptResponse(found, context.arrivals)


@router.get("/workflows/execution_engine/versions", summary="Versions of the engine")
async def versions(request: Request) -> Response:
    """The versions of Roboflow's execution engine that run workflows."""
    return await _ask(request, "versions", {})


@router.post("/{workspace}/workflows/{workflow_id}", summary="Run a saved workflow", **RUN_SAVED)
@router.post(
    "/infer/workflows/{workspace}/{workflow_id}",
    summary="Run a saved workflow (the older route)",
    **RUN_SAVED,
)
async def run_saved(request: Request, workspace: str, workflow_id: str) -> Response:
    """Run a saved workflow of the caller's tenant."""
    tenant, document = await read_document(request)
    document["specification"] = await saved_definition(request, tenant, document, workspace, workflow_id)
    return await _run(request, tenant, document)


@router.post(
    "/{workspace}/workflows/{workflow_id}/describe_interface",
    summary="Inputs and outputs of a saved workflow",
    **SAVED_INTERFACE,
)
async def describe_saved(request: Request, workspace: str, workflow_id: str) -> Response:
    """Kinds of the inputs and outputs of a saved workflow."""
    tenant, document = await read_document(request)
    definition = await saved_definition(request, tenant, document, workspace, workflow_id)
    return await _ask(request, "describe_interface", definition)


async def _run(request: Request, tenant: str, document: dict[str, object]) -> Response:
    job = await read_run(request, tenant, document)
    return answer_of(await workflows_of(request).run(job, exchange_of(request).timings))


async def _ask(request: Request, question: Question, document: dict[str, object]) -> Response:
    timings = exchange_of(request).timings
    return answer_of(await workflows_of(request).ask(question, document, timings))
