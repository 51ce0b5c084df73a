"""The deployment that runs workflows. Its replicas hold no model: they call the decoders, as an ingress does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ray.serve.handle import DeploymentHandle

from deployments.config import PoolConfig
from deployments.ingress.decoding import ImageDecoding
from deployments.ingress.models import ModelRoute
from deployments.ingress.services import services
from deployments.ingress.video.reading import VideoReading
from deployments.observe.metrics import NAMES
from deployments.observe.report import ServeMetrics
from deployments.protocol import DeadlineExceeded, Overloaded, Timings
from deployments.ray.calls import connect
from deployments.ray.loopback import stay_on_loopback
from deployments.workflows.limits import Limits
from deployments.workflows.messages import Done, Job, NotDone, Reply
from deployments.workflows.policy import Policy
from deployments.workflows.protocol import WorkflowAnswer, WorkflowTooLong
from deployments.workflows.runs import Runs
from deployments.workflows.sandbox import Sandbox, SandboxFailed
from deployments.workflows.workers import Workers
from sam3_engine.video_files.reading import Limits as FileLimits

WORKFLOWS = "WorkflowRunner"
"""The deployment's name."""


@dataclass(frozen=True, slots=True)
class WorkflowConfig:
    """The workflow runner's part of the settings."""

    limits: Limits
    policy: Policy
    model_ids: Mapping[str, str]
    """The names of models by the ids that choose them."""
    workers: int
    most: int
    """Most runs in one replica, also counting runs that wait for a worker."""
    decode_threads: int
    retry_after_s: float

    def sandbox(self) -> dict[str, Any]:
        """The settings that every worker gets."""
        return {
            "max_steps": self.policy.max_steps,
            "more_steps": self.policy.more_steps,
            "model_ids": list(self.model_ids),
            "max_image_pixels": self.limits.max_image_pixels,
            "memory_bytes": self.limits.memory_bytes,
        }


class WorkflowRunner:
    """A Serve deployment. Ready once the engine is imported."""

    def __init__(
        self,
        config: WorkflowConfig,
        pool: PoolConfig,
        routes: Sequence[ModelRoute],
        models: Mapping[str, DeploymentHandle[Any]],
    ) -> None:
        """routes, models: as of the ingress."""
        stay_on_loopback()
        connect(*models.values())
        self._config = config
        self._sandbox = Sandbox(config.sandbox())
        metrics = ServeMetrics()
        metrics.set(NAMES.processes, 1, part="workflows")
        decoding = ImageDecoding(config.decode_threads, config.limits.max_image_pixels)
        reading = VideoReading(1, FileLimits(frames=0, pixels=0))  # the sessions of workflows have no files
        images, video = services(routes, models, pool, metrics, decoding, reading, config.retry_after_s)
        workers = Workers(self._sandbox, config.workers, config.most)
        self._runs = Runs(images, workers, config.limits, config.model_ids, video)

    async def run(self, job: Job) -> Reply:
        """Answer a job. Overloaded, DeadlineExceeded and WorkflowTooLong are returned by name, as NotDone."""
        timings = Timings(job.request_id, job.deadline)
        try:
            answer = await self._answer(job, timings)
        except WorkflowTooLong:
            return NotDone("too_long", self._config.limits.timeout_s)
        except DeadlineExceeded:
            return NotDone("deadline")
        except Overloaded as error:
            return NotDone("overloaded", error.retry_after_s)
        return Done(answer.status, answer.body, timings.cache, timings.stages)

    async def _answer(self, job: Job, timings: Timings) -> WorkflowAnswer:
        if job.question != "run":
            return await self._runs.ask(job.question, job.run.request, timings)
        return await self._runs.run(job.run, timings)

    async def check_health(self) -> None:
        """Called by Serve, which replaces the replica after an error: here, when the engine's process has ended."""
        if not self._sandbox.alive:
            raise SandboxFailed("the workflow engine's process has ended")

    def __del__(self) -> None:
        """Called by Serve when the replica stops."""
        if hasattr(self, "_sandbox"):
            self._sandbox.close()
