"""The workflow runners as an ingress sees them."""

from typing import Any

from ray.serve.handle import DeploymentHandle

from deployments.payloads import LostPayload, fetch, stow
from deployments.protocol import DeadlineExceeded, Overloaded, Trace
from deployments.routing import call
from deployments.traces import merge
from deployments.workflows.messages import Done, Job, Reply
from deployments.workflows.protocol import Question, WorkflowAnswer, WorkflowRun, WorkflowTooLong

ATTEMPTS = 2
"""A run changes nothing outside itself, so that one whose runner died is run again."""


class ServeWorkflows:
    """`deployments.workflows.protocol.Workflows` on a Serve handle."""

    def __init__(self, runner: DeploymentHandle[Any], retry_after_s: float, get_timeout_s: float) -> None:
        self._runner = runner
        self._retry_after_s = retry_after_s
        self._get_timeout_s = get_timeout_s

    async def run(self, run: WorkflowRun, trace: Trace) -> WorkflowAnswer:
        """Run a workflow. Raises Overloaded, DeadlineExceeded."""
        files = stow(run.files)
        job = Job("run", run.request, run.tenant, trace.request_id, trace.deadline, run.places, files)
        return await self._answer(job, trace)

    async def ask(self, question: Question, document: dict[str, Any], trace: Trace) -> WorkflowAnswer:
        """What the engine says about a definition, or about itself. Raises Overloaded, DeadlineExceeded."""
        return await self._answer(Job(question, document, "", trace.request_id, trace.deadline), trace)

    async def _answer(self, job: Job, trace: Trace) -> WorkflowAnswer:
        for _ in range(ATTEMPTS):
            reply: Reply = await call(self._runner, "run", job, retry_after_s=self._retry_after_s)
            if isinstance(reply, Done):
                try:
                    body = await fetch(reply.body, self._get_timeout_s)
                except LostPayload:
                    continue
                merge(trace, [Trace(trace.request_id, cache=reply.cache, stages=reply.stages)])
                return WorkflowAnswer(reply.status, body)
            match reply.reason:
                case "overloaded":
                    raise Overloaded(reply.seconds)
                case "deadline":
                    raise DeadlineExceeded
                case "too_long":
                    raise WorkflowTooLong(reply.seconds)
        raise Overloaded(self._retry_after_s)  # the object store loses what travels
