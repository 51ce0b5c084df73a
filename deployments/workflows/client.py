"""The ingress's client of the workflow runners."""

from typing import Any

from ray.serve.handle import DeploymentHandle

from deployments.protocol import DeadlineExceeded, Overloaded, Timings
from deployments.ray.calls import call
from deployments.workflows.messages import Done, Job, Reply
from deployments.workflows.protocol import Question, WorkflowAnswer, WorkflowRun, WorkflowTooLong


class ServeWorkflows:
    """`deployments.workflows.protocol.Workflows` on a Serve handle."""

    def __init__(self, runner: DeploymentHandle[Any], retry_after_s: float) -> None:
        self._runner = runner
        self._retry_after_s = retry_after_s

    async def run(self, run: WorkflowRun, timings: Timings) -> WorkflowAnswer:
        """Run a workflow. Raises Overloaded, DeadlineExceeded."""
        return await self._answer(Job("run", run, timings.request_id, timings.deadline), timings)

    async def ask(self, question: Question, document: dict[str, Any], timings: Timings) -> WorkflowAnswer:
        """The engine's answer about a definition, or about itself. Raises Overloaded, DeadlineExceeded."""
        about = WorkflowRun("", document)
        return await self._answer(Job(question, about, timings.request_id, timings.deadline), timings)

    async def _answer(self, job: Job, timings: Timings) -> WorkflowAnswer:
        reply: Reply = await call(self._runner, "run", job, retry_after_s=self._retry_after_s)
        if isinstance(reply, Done):
            timings.merge([Timings(timings.request_id, cache=reply.cache, stages=reply.stages)])
            return WorkflowAnswer(reply.status, reply.body)
        match reply.reason:
            case "overloaded":
                raise Overloaded(reply.seconds)
            case "deadline":
                raise DeadlineExceeded
            case "too_long":
                raise WorkflowTooLong(reply.seconds)
