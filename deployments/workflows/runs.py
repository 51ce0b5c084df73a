"""Runs workflows: gives each run a worker, answers its model calls and bounds its time. Knows no Ray:
`deployments.workflows.deployment` wraps it."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from deployments.fairness.flows import Share
from deployments.ingress.video.service import VideoSessions
from deployments.protocol import DeadlineExceeded, Segmenter, Timings
from deployments.workflows.frames import Header, Unpackable
from deployments.workflows.limits import Limits
from deployments.workflows.models import ModelCalls
from deployments.workflows.protocol import Question, WorkflowAnswer, WorkflowRun, WorkflowTooLong
from deployments.workflows.videos import Beginnings, VideoCalls
from deployments.workflows.workers import Call, RanTooLong, WorkerDied, Workers, unanswerable

NEVER_CHANGE: tuple[Question, ...] = ("versions", "describe_blocks")
"""Questions whose answer, if they have no arguments, depends only on the installed packages and is kept."""

NOBODY = Share("")
"""Questions are quick; all of them together are one tenant more."""
DIED = (
    b'{"message":"The workflow\'s process ended before it had answered: it may have needed more memory than one run '
    b'may take (SAM3_WORKFLOW_MEMORY_BYTES)."}'
)
logger = logging.getLogger(__name__)


class Runs:
    """`deployments.workflows.protocol.Workflows`. For one event loop."""

    def __init__(
        self,
        segmenter: Segmenter,
        workers: Workers,
        limits: Limits,
        model_ids: Mapping[str, str] | None = None,
        video: VideoSessions | None = None,
    ) -> None:
        """model_ids: see `ModelCalls`. video: None where videos are switched off."""
        self._segmenter = segmenter
        self._workers = workers
        self._limits = limits
        self._model_ids = model_ids
        self._video = video
        self._kept: dict[Question, WorkflowAnswer] = {}
        self._beginnings: Beginnings = {}

    async def run(self, run: WorkflowRun, timings: Timings) -> WorkflowAnswer:
        """Run a workflow. Raises Overloaded, DeadlineExceeded, and unexpected errors of model calls."""
        definition = run.request.get("specification")
        videos = VideoCalls(self._video, run.tenant, run.videos, definition, self._beginnings)
        calls = ModelCalls(
            self._segmenter, run.tenant, run.files, self._limits, run.quota, self._model_ids, videos
        )

        async def call(header: Header, parts: list[bytes]) -> Header:
            return await calls.answer(header, parts, timings)

        places = [{"path": list(one.path), "file": one.file, "extras": one.extras} for one in run.places]
        header = {"question": "run", "document": run.request, "places": places}
        try:
            answer = await self._in_time(run.share, header, run.files, call, timings)
        finally:
            timings.merge(calls.timings)
            await calls.close()
        if calls.failure is not None:
            raise calls.failure
        return answer

    async def ask(self, question: Question, document: dict[str, Any], timings: Timings) -> WorkflowAnswer:
        """The engine's answer about a definition, or about itself. Raises Overloaded, DeadlineExceeded."""
        lasting = question in NEVER_CHANGE and not document
        if lasting and question in self._kept:
            return self._kept[question]
        header = {"question": question, "document": document}
        answer = await self._in_time(NOBODY, header, (), _no_model, timings)
        if lasting and answer.status == 200:
            self._kept[question] = answer
        return answer

    async def _in_time(
        self, share: Share, header: Header, files: Sequence[bytes], call: Call, timings: Timings
    ) -> WorkflowAnswer:
        """A worker's answer. Raises Overloaded; raises WorkflowTooLong or DeadlineExceeded, and then the worker is
        killed."""
        own = self._limits.timeout_s
        left = None if timings.deadline is None else timings.deadline - time.time()
        try:
            async with asyncio.timeout(left):
                status, body = await self._workers.ask(share, header, files, call, own)
        except RanTooLong:
            raise WorkflowTooLong(own) from None
        except TimeoutError:
            raise DeadlineExceeded from None
        except Unpackable as error:
            complaint = {"loc": ["body"], "msg": str(error), "type": "unpackable"}
            return WorkflowAnswer(422, orjson.dumps({"detail": [complaint]}))
        except WorkerDied:
            logger.exception("request %s: a worker died", timings.request_id)
            return WorkflowAnswer(500, DIED)
        return WorkflowAnswer(status, body)


async def _no_model(_header: Header, _parts: list[bytes]) -> Header:
    return unanswerable("no model is asked here", 400)
