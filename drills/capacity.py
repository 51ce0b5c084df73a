"""The cost of requests on this machine, part by part, and a check of `sam3-serve plan` against a measured load.

    python -m drills.capacity [--seconds 20] [--write FILE]
    python -m drills.capacity --against reports/loadtest-mixed.json [--figures FILE]

Three loads run one after another at saturation: clicks on known images, concepts on known images, concepts on new
images. The CPU time of each group of processes, divided by the answers, gives the planner's costs. Then a mix runs, and
the planner's load is printed beside the measured one. `--against` does the same for a report of `make loadtest`.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from drills.foretold import loads_of, measured_load
from drills.saturate import CLIENT, MIX, Client, Phase, idle, image, saturate
from harness.figures import table
from harness.machine import Machine, this_machine
from harness.server import server_process
from harness.usage import Processes, tree
from serve_app.capacity import Costs, known_costs, load, read_costs

INGRESS, ENCODER, DECODER = ("Ingress", "haproxy", "pool"), ("ImageEncoder",), ("PromptDecoder",)
"""Groups of processes whose work the planner counts."""
NAME = "tiny-cpu"


@dataclass(frozen=True)
class Measured:
    """The loads by name, among them `idle` and `mix`, and the costs of a request that follow from them."""

    costs: Costs
    phases: dict[str, Phase]

    @property
    def foretold_work(self) -> float:
        """CPU seconds of the server that an answer of the mix takes, by the costs."""
        return load(self.costs, MIX).total - load(self.costs).total

    @property
    def measured_work(self) -> float:
        """CPU seconds that an answer of the mix took."""
        return spent(self.phases, "mix", *INGRESS, *ENCODER, *DECODER)

    def foretold_rps(self, cores: int) -> float:
        """Answers of the mix a second that the costs foretell, on cores that also run the client and the idle work of
        the server."""
        shares = {
            "click": MIX.click_share,
            "concept": MIX.concepts - MIX.new_images,
            "new": MIX.new_images,
        }
        client = sum(share * self.phases[name].each(CLIENT) for name, share in shares.items())
        quiet = self.phases["idle"]
        free = cores - sum(quiet.cpu.values()) / quiet.seconds
        return free / (self.foretold_work + client)


def spent(phases: dict[str, Phase], name: str, *groups: str) -> float:
    """CPU seconds of these groups for an answer, without their work while idle."""
    phase = phases[name]
    beyond = sum(phase.cpu.get(group, 0.0) for group in groups) - idle_cores(phases, *groups) * phase.seconds
    return max(0.0, beyond) / max(1, phase.answered)


def idle_cores(phases: dict[str, Phase], *groups: str) -> float:
    """Cores that these groups use when nobody asks."""
    quiet = phases["idle"]
    return sum(quiet.cpu.get(group, 0.0) for group in groups) / quiet.seconds


def measure(url: str, processes: Processes, seconds: float) -> Measured:
    """Load a server that runs `tiny` and does nothing else."""
    client = Client(url)
    calls = {"click": client.click, "concept": client.concept, "new": client.new, "mix": client.mixed}
    for call in calls.values():
        saturate(processes, call, min(2.0, seconds))
    phases = {"idle": saturate(processes, idle, min(8.0, seconds), clients=1)}
    phases |= {name: saturate(processes, call, seconds) for name, call in calls.items()}
    return Measured(costs_of(phases), phases)


def costs_of(phases: dict[str, Phase]) -> Costs:
    """The planner's costs."""
    from sam3_engine.spec import TINY

    concept_s = spent(phases, "concept", *DECODER)
    trunk = 4 * TINY.grid**2 * TINY.vit_dim
    clicks = 4 * TINY.grid**2 * (TINY.d_model // 8 * 16 + TINY.d_model // 4 * 4 + TINY.d_model)
    concepts = 4 * TINY.grid**2 * TINY.d_model * (16 + 4 + 1)
    return Costs(
        name=NAME,
        model="tiny",
        device="cpu",
        source="measured",
        where=f"CPU time of each group of processes, by `python -m drills.capacity`: {_where(this_machine())}",
        known_core_s=spent(phases, "click", *INGRESS),
        new_core_s=spent(phases, "new", *INGRESS),
        encode_s=spent(phases, "new", *ENCODER),
        expand_s=max(0.0, spent(phases, "new", *DECODER) - concept_s),
        click_s=spent(phases, "click", *DECODER),
        concept_s=concept_s,
        embedding_bytes=trunk + clicks,
        hot_bytes=trunk + clicks + concepts,
        image_bytes=len(image(0)),
        idle_ingress=idle_cores(phases, *INGRESS),
        idle_model=idle_cores(phases, *ENCODER, *DECODER) / 2,
    )


def _where(machine: Machine) -> str:
    versions = ", ".join(f"{name} {machine.versions[name]}" for name in ("torch", "ray"))
    return f"{machine.date}, {machine.cpu}, {machine.cores} cores, {versions}"


def report(measured: Measured, cores: int) -> str:
    """Tables of the loads, and of the forecast."""
    names = [CLIENT, *INGRESS, *ENCODER, *DECODER]
    rows = [
        [
            name,
            phase.answered,
            phase.failed,
            f"{phase.rps:.3g}",
            *(f"{1000 * phase.each(group):.3g}" for group in names),
        ]
        for name, phase in measured.phases.items()
        if name != "idle"
    ]
    quiet = ", ".join(
        f"{group} {seconds / measured.phases['idle'].seconds:.3f}"
        for group, seconds in measured.phases["idle"].cpu.items()
    )
    head = ["load", "answered", "failed", "answers/s", *(f"{name}, ms CPU" for name in names)]
    rate, reached = measured.foretold_rps(cores), measured.phases["mix"].rps
    work, took = 1000 * measured.foretold_work, 1000 * measured.measured_work
    what = f"{MIX.click_share:.0%} clicks, {MIX.new_images:.0%} new images"
    return "\n\n".join(
        [
            this_machine().line(),
            table(head, rows),
            f"Cores in use while nobody asks: {quiet}.",
            table(
                [f"mix: {what}", "foretold", "measured", "foretold / measured"],
                [
                    [
                        "CPU of the server for an answer, ms",
                        f"{work:.3g}",
                        f"{took:.3g}",
                        f"{work / took:.2f}",
                    ],
                    ["answers a second", f"{rate:.3g}", f"{reached:.3g}", f"{rate / reached:.2f}"],
                ],
            ),
        ]
    )


def against(path: Path, costs: Costs) -> str:
    """A report of `make loadtest` beside the forecast of its steady load from the costs."""
    found = json.loads(path.read_text(encoding="utf-8"))
    foretold, took = load(costs, *loads_of(found)), measured_load(found)
    rows = [
        [name, f"{one:.3g}", f"{other:.3g}", f"{one / other:.2f}" if other else ""]
        for name, one, other in zip(
            asdict(foretold), asdict(foretold).values(), asdict(took).values(), strict=True
        )
    ]
    return table(["cores busy with", "foretold", "measured", "foretold / measured"], rows)


def write(path: Path, costs: Costs) -> None:
    """Replace the figures of that name in a file of them; defaults are left out."""
    known = json.loads(path.read_text(encoding="utf-8"))
    defaults = {one.name: one.default for one in fields(Costs)}
    values = {
        key: round(value, 6) if isinstance(value, float) else value
        for key, value in asdict(costs).items()
        if value != defaults[key]
    }
    name = values.pop("name")
    path.write_text(json.dumps({**known, name: values}, indent=2) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, or compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="of each load")
    parser.add_argument("--write", type=Path, help=f"a file of figures in which to replace {NAME}'s")
    parser.add_argument("--against", type=Path, help="a report of a load test, instead of measuring")
    parser.add_argument("--figures", help="costs for --against; without: those of the package")
    options = parser.parse_args(arguments)
    if options.against:
        print(
            against(
                options.against, (read_costs(options.figures) if options.figures else known_costs())[NAME]
            )
        )
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        server_process(Path(folder), model="tiny", object_store_bytes="1GiB") as server,
    ):
        measured = measure(server.url, tree(server.process.pid), options.seconds)
    print(report(measured, this_machine().cores))
    if options.write:
        write(options.write, measured.costs)


if __name__ == "__main__":
    main()
