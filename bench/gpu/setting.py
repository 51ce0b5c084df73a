"""A check's device, model and engines, which the check's parts share."""

import platform
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from sam3_engine.assembly import build_model
from sam3_engine.device import Precision, choose_precision, set_tf32
from sam3_engine.engine import Engine
from sam3_engine.features import Features
from sam3_engine.loading import read_checkpoint
from sam3_engine.spec import SPECS, ModelSpec
from sam3_engine.types import ConceptPrompt, ImageSize

Square = npt.NDArray[np.uint8]
State = Mapping[str, torch.Tensor]
TEXTS = ("circle", "star", "square", "triangle")


@dataclass(frozen=True, slots=True)
class Setting:
    """The device, the model, and the time for each measurement.

    Engines and random weights are made once and kept: at full size each takes seconds.
    """

    device: torch.device
    spec: ModelSpec
    seconds: float
    _states: dict[tuple[str, bool], State] = field(default_factory=dict, repr=False, compare=False)
    _engines: dict[object, Engine] = field(default_factory=dict, repr=False, compare=False)

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    @property
    def dtype(self) -> str:
        """The number format that the service chooses."""
        return "bfloat16" if self.on_gpu else "float32"

    def engine(self, spec: ModelSpec | None = None, *, trained: bool = False, dtype: str = "") -> Engine:
        """The engine on the device that all parts share, with the bundled weights or with random ones.

        Float32 matrix products round from now on as this engine wants it.
        """
        return self._kept(spec or self.spec, trained, str(self.device), dtype or self.dtype)

    def reference(self, spec: ModelSpec | None = None, *, trained: bool = False) -> Engine:
        """The same weights in float32 on the CPU."""
        return self._kept(spec or self.spec, trained, "cpu", "float32", "reference")

    def another(self, spec: ModelSpec, *, trained: bool) -> Engine:
        """An engine as the shared one, for one part alone."""
        return self._made(spec, trained, str(self.device), self.dtype)

    def follower(self, spec: ModelSpec, *, trained: bool, reference: bool = False) -> Engine:
        """An engine that follows videos too, for one part alone. reference: in float32 on the CPU."""
        device, dtype = ("cpu", "float32") if reference else (str(self.device), self.dtype)
        return self._made(spec, trained, device, dtype, video=True)

    def forget(self, spec: ModelSpec | None = None, *, trained: bool = False, dtype: str = "") -> None:
        """Let a shared engine's memory go."""
        key = ((spec or self.spec).name, trained, str(self.device), dtype or self.dtype)
        self._engines.pop(key, None)

    def _kept(self, spec: ModelSpec, trained: bool, device: str, dtype: str, *purpose: str) -> Engine:
        key = (spec.name, trained, device, dtype, *purpose)
        if key not in self._engines:
            self._engines[key] = self._made(spec, trained, device, dtype)
        engine = self._engines[key]
        set_tf32(engine.precision)
        return engine

    def _made(
        self, spec: ModelSpec, trained: bool, device: str, dtype: str, *, video: bool = False
    ) -> Engine:
        return Engine.from_state(self._state(spec, trained), spec, device=device, dtype=dtype, video=video)

    def _state(self, spec: ModelSpec, trained: bool) -> State:
        """The weights, with those that only video needs."""
        key = (spec.name, trained)
        if key not in self._states:
            if trained:
                self._states[key] = read_checkpoint(spec, None, video=True)
            else:
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(0)
                    self._states[key] = build_model(spec, video=True).state_dict()
        return self._states[key]

    @contextmanager
    def arithmetic(self, *, half: bool) -> Iterator[None]:
        """Inference outside the engine, under bfloat16 autocast or in float32."""
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            yield

    @contextmanager
    def as_the_package_leaves_it(self) -> Iterator[None]:
        """Round float32 matrix products to TF32 within the block: importing the package sets it so."""
        set_tf32(Precision(torch.float32, torch.bfloat16, torch.float32, torch.float32))
        try:
            yield
        finally:
            set_tf32(choose_precision(self.dtype, self.device, self.spec))

    def peak_gib(self) -> float | None:
        """Peak memory since the last call; None on a CPU."""
        if not self.on_gpu:
            return None
        peak = torch.cuda.max_memory_allocated(self.device) / 2**30
        torch.cuda.reset_peak_memory_stats(self.device)
        return peak


def square(spec: ModelSpec, seed: int) -> Square:
    """A drawn scene, in the model's size."""
    import cv2

    from training.scenes import draw_scene, render

    picture = render(draw_scene(seed, ImageSize(480, 640)))
    return np.asarray(cv2.resize(picture, (spec.image_size, spec.image_size)), np.uint8)


def features(engine: Engine, seed: int = 1) -> Features:
    """A drawn scene's features, ready for prompts."""
    return engine.expand(engine.encode([square(engine.spec, seed)])[0])


def concepts(count: int, threshold: float) -> list[ConceptPrompt]:
    """Text prompts. Random weights find nothing at 0.5: there the threshold says how many masks are made."""
    return [ConceptPrompt(TEXTS[i % len(TEXTS)], score_threshold=threshold) for i in range(count)]


def setting(device: str, model: str, seconds: float) -> Setting:
    """Raises ValueError for a model or a device that is not there."""
    if model not in SPECS:
        raise ValueError(f"unknown model {model!r}: choose one of {', '.join(SPECS)}")
    on = torch.device(device)
    if on.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("torch sees no CUDA device: --device cpu runs the check without one")
    if device == "cuda":  # torch limits the memory of a device that has an index alone
        on = torch.device("cuda", torch.cuda.current_device())
    return Setting(on, SPECS[model], seconds)


@dataclass(frozen=True, slots=True)
class Machine:
    """Hardware and versions. Needs nothing but torch."""

    date: str
    device: str
    memory_gib: float | None
    processor: str
    python: str
    versions: dict[str, str]
    commit: str


def machine(asked: Setting) -> Machine:
    gpu = torch.cuda.get_device_properties(asked.device) if asked.on_gpu else None
    return Machine(
        date=datetime.now(UTC).date().isoformat(),
        device=gpu.name if gpu else "CPU",
        memory_gib=gpu.total_memory / 2**30 if gpu else None,
        processor=f"{_processor()}, {torch.get_num_threads()} threads",
        python=platform.python_version(),
        versions={"CUDA": torch.version.cuda or "none"}
        | {name: _version(name) for name in ("torch", "torchvision", "sam3", "numpy")},
        commit=_commit(),
    )


def _processor() -> str:
    found = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return found[0].partition(": ")[2] if found else platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    try:
        git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
