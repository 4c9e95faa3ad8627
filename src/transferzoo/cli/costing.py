"""The command that measures what models cost: `costs`."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from typing import Annotated, Any

import typer

from transferzoo.cli import output
from transferzoo.cli.app import app
from transferzoo.cli.options import JsonOption, backbones_beginning_with
from transferzoo.errors import TransferZooError
from transferzoo.ground.metrics import readable
from transferzoo.ground.quiet import load_keras

COLUMNS = ("parameters", "macs", "size_bytes", "latency_ms", "images_per_second", "peak_memory_bytes")


@app.command(epilog="Example: [bold]transferzoo costs mobilenet resnet50 --image-size 96[/]")
def costs(
    names: Annotated[
        list[str],
        typer.Argument(help="Backbones; see: transferzoo list.", autocompletion=backbones_beginning_with),
    ],
    image_size: Annotated[
        int | None,
        typer.Option("--image-size", help="Side of the images in pixels.", show_default="the backbone's own"),
    ] = None,
    classes: Annotated[int, typer.Option("--classes", help="Classes of the head.")] = 1000,
    as_json: JsonOption = False,
    here: Annotated[bool, typer.Option("--here", hidden=True)] = False,
) -> None:
    """Measure parameters, compute, size, speed and memory of backbones, each in a process of its own."""
    import transferzoo as tz

    known = [tz.backbone_info(name) for name in names]
    if here:
        load_keras()
        shape = {} if image_size is None else {"input_shape": (image_size, image_size, 3)}
        print(json.dumps(tz.measure_costs(names[0], num_classes=classes, **shape).to_dict()))
        return
    found = []
    for record in known:
        size = [] if image_size is None else ["--image-size", str(image_size)]
        call = [sys.executable, "-m", "transferzoo", "costs", record.name, "--classes", str(classes), *size]
        done = subprocess.run([*call, "--here"], capture_output=True, text=True)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.startswith("transferzoo: ")]
            raise TransferZooError(lines[-1].removeprefix("transferzoo: ") if lines else done.stderr.strip())
        found.append(json.loads(done.stdout.splitlines()[-1]))
    if as_json:
        output.print_json(found)
        return
    _show(found)


def _show(found: list[dict[str, Any]]) -> None:
    heads = ("model", ">pixels", ">parameters", ">MACs", ">size", ">latency", ">images/s", ">memory")
    table = output.table(*heads)
    for each in found:
        cells = [readable(name, each[name] if each[name] is not None else math.nan) for name in COLUMNS]
        table.add_row(each["name"], "×".join(map(str, each["image_size"])), *cells)
    output.console().print(table)
    first = found[0]
    print(
        f"{first['backend']} on {first['devices']}, {first['threads']} threads; random weights; latency of "
        "one image, images/s in batches of 32, memory of the process at its highest"
    )
