"""Runs workflows: gives each run a worker, answers its model calls and bounds its time. Knows no Ray:
`deployments.workflows.deployment` wraps it."""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any

import orjson

from deployments.protocol import DeadlineExceeded, Segmenter, Timings
from deployments.workflows.frames import Header, Unpackable
from deployments.workflows.limits import Limits
from deployments.workflows.models import ModelCalls
from deployments.workflows.protocol import Question, WorkflowAnswer, WorkflowRun, WorkflowTooLong
from deployments.workflows.workers import Call, WorkerDied, Workers, unanswerable

NEVER_CHANGE: tuple[Question, ...] = ("versions", "describe_blocks")
"""Questions whose answer, if they have no arguments, depends only on the installed packages and is kept."""

DIED = (
    b'{"message":"The workflow\'s process ended before it had answered: it may have needed more memory than one run '
    b'may take (SAM3_WORKFLOW_MEMORY_BYTES)."}'
)
logger = logging.getLogger(__name__)


class Runs:
    """`deployments.workflows.protocol.Workflows`. For one event loop."""

    def __init__(self, segmenter: Segmenter, workers: Workers, limits: Limits) -> None:
        self._segmenter = segmenter
        self._workers = workers
        self._limits = limits
        self._kept: dict[Question, WorkflowAnswer] = {}

    async def run(self, run: WorkflowRun, timings: Timings) -> WorkflowAnswer:
        """Run a workflow. Raises Overloaded, DeadlineExceeded, and unexpected errors of model calls."""
        calls = ModelCalls(self._segmenter, run.tenant, run.files, self._limits)

        async def call(header: Header, parts: list[bytes]) -> Header:
            return await calls.answer(header, parts, timings)

        places = [{"path": list(one.path), "file": one.file, "extras": one.extras} for one in run.places]
        header = {"question": "run", "document": run.request, "places": places}
        try:
            answer = await self._in_time(header, run.files, call, timings)
        finally:
            timings.merge(calls.timings)
        if calls.failure is not None:
            raise calls.failure
        return answer

    async def ask(self, question: Question, document: dict[str, Any], timings: Timings) -> WorkflowAnswer:
        """The engine's answer about a definition, or about itself. Raises DeadlineExceeded."""
        lasting = question in NEVER_CHANGE and not document
        if lasting and question in self._kept:
            return self._kept[question]
        answer = await self._in_time({"question": question, "document": document}, (), _no_model, timings)
        if lasting and answer.status == 200:
            self._kept[question] = answer
        return answer

    async def _in_time(
        self, header: Header, files: Sequence[bytes], call: Call, timings: Timings
    ) -> WorkflowAnswer:
        """A worker's answer. Raises WorkflowTooLong or DeadlineExceeded, and then the worker is killed."""
        own = self._limits.timeout_s
        left = own if timings.deadline is None else timings.deadline - time.time()
        try:
            async with asyncio.timeout(min(own, left)):
                status, body = await self._workers.ask(header, files, call)
        except TimeoutError:
            raise (WorkflowTooLong(own) if own < left else DeadlineExceeded()) from None
        except Unpackable as error:
            complaint = {"loc": ["body"], "msg": str(error), "type": "unpackable"}
            return WorkflowAnswer(422, orjson.dumps({"detail": [complaint]}))
        except WorkerDied:
            logger.exception("request %s: a worker died", timings.request_id)
            return WorkflowAnswer(500, DIED)
        return WorkflowAnswer(status, body)


async def _no_model(_header: Header, _parts: list[bytes]) -> Header:
    return unanswerable("no model is asked here", 400)
