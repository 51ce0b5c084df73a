"""`sam3-serve plan`: prints the hardware that a load needs, as tables."""

import json
from dataclasses import asdict

import click
from rich.console import Console
from rich.table import Table

from deployments.resources import STORE_SHARE
from serve_app.capacity import (
    UTILISATION,
    Costs,
    Demand,
    Sizing,
    known_costs,
    most_rps,
    read_costs,
    size,
)
from serve_app.forecast import TOGETHER, Images, labelling

GIB = 2**30


def run(
    costs: Costs, demand: Demand, cores: int | None, as_json: bool, models: int = 1, trunks: int = 1
) -> None:
    """Print the sizing of a demand. cores: cores of one node, to count the nodes of a CPU-only cluster. models, trunks:
    see `size`. Raises click.UsageError for trunks without a model."""
    try:
        found = size(costs, demand, models, trunks)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if as_json:
        click.echo(
            json.dumps({"costs": asdict(costs), "demand": asdict(demand), "sizing": asdict(found)}, indent=1)
        )
        return
    console = Console(highlight=False)
    console.print(_work(costs, demand, found))
    console.print(_hardware(costs, found, cores))
    console.print(_settings(costs, found))
    console.print(f"Figures of {costs.name!r}, [bold]{costs.source}[/]: {costs.where}.", soft_wrap=True)
    if costs.device == "cpu" and cores:
        console.print(f"{cores} cores carry at most {most_rps(costs, demand, cores):.3g} such requests/s.")


def run_labelling(costs: Costs, images: Images, devices: int, as_json: bool) -> None:
    """Print how long labelling images takes. devices: GPUs, or cores."""
    found = labelling(costs, images, devices)
    if as_json:
        click.echo(
            json.dumps(
                {"costs": asdict(costs), "images": asdict(images), "forecast": asdict(found)}, indent=1
            )
        )
        return
    console = Console(highlight=False)
    unit = "GPU" if costs.device == "gpu" else "core"
    table = _table(f"{images.count} images, {images.prompts} phrases, {devices} {unit}s", "", "")
    table.add_row("the model, for an image", f"{1000 * found.device_s:.3g} ms of a {unit}")
    table.add_row("reading it, and its masks", f"{1000 * found.core_s:.3g} ms of a core")
    table.add_row(f"a second, at {TOGETHER:.0%} of the model's own rate", f"{found.images_per_s:.3g} images")
    table.add_row("all of them", f"{found.hours:.3g} hours")
    table.add_row("cores that keep the models busy", f"{found.cores:.3g}")
    console.print(table)
    console.print(f"Figures of {costs.name!r}, [bold]{costs.source}[/]: {costs.where}.", soft_wrap=True)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


def _work(costs: Costs, demand: Demand, found: Sizing) -> Table:
    table = _table(f"{demand.rps:g} requests/s", "part", "a second", "busy for", "replicas")
    device = "GPU" if costs.device == "gpu" else "core"
    rows = [
        ("ingress", f"{demand.rps:.3g} requests", found.load.ingress, "core", found.ingress_replicas),
        (
            "encoders",
            f"{demand.new_images:.3g} new images",
            found.load.encoders,
            device,
            found.encoder_replicas,
        ),
        (
            "decoders",
            f"{demand.clicks:.3g} clicks, {demand.concepts * demand.prompts:.3g} concepts",
            found.load.decoders,
            device,
            found.decoder_replicas,
        ),
    ]
    for name, items, busy, unit, replicas in rows:
        table.add_row(name, items, f"{busy:.3g} {unit}s", str(replicas))
    return table


def _hardware(costs: Costs, found: Sizing, cores: int | None) -> Table:
    table = _table(f"\nHardware, {UTILISATION:.0%} busy at most", "", "")
    if costs.device == "gpu":
        table.add_row("GPUs, encoders and decoders on their own", str(found.devices))
        table.add_row("GPUs, each with an encoder and decoders", str(found.shared_devices))
    else:
        table.add_row("cores", str(found.devices))
        if cores:
            table.add_row(f"nodes of {cores} cores", str(-(-found.devices // cores)))
    table.add_row("images that are worked on at once", str(found.images))
    table.add_row("object store of the encoders' nodes", _gib(found.object_store_bytes))
    table.add_row("compressed sources in the pool", _gib(found.cold_bytes))
    table.add_row("device memory to keep all of them hot", _gib(found.hot_bytes))
    table.add_row("device memory that these decoders have for it", _gib(found.hot_room_bytes))
    return table


def _settings(costs: Costs, found: Sizing) -> Table:
    table = _table(f"\nSettings (the object store is filled to {STORE_SHARE:.0%})", "variable", "value")
    table.add_row("SAM3_INGRESS_REPLICAS", str(found.ingress_replicas))
    table.add_row("SAM3_ENCODER_REPLICAS", str(found.encoder_replicas))
    table.add_row("SAM3_DECODER_REPLICAS", str(found.decoder_replicas))
    table.add_row("SAM3_WARM_BYTES", str(found.warm_bytes))
    table.add_row("SAM3_COLD_BYTES", str(found.cold_bytes // 2))
    return table


def _gib(count: int) -> str:
    return f"{count / GIB:.3g} GiB"


def chosen(name: str, file: str | None) -> Costs:
    """The costs of that name, from `file` or else from the package. Raises click.UsageError."""
    try:
        known = read_costs(file) if file else known_costs()
        return known[name]
    except KeyError:
        raise click.UsageError(f"no figures for {name!r}; there are {', '.join(known)}") from None
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{file} has no figures: {error}") from None
