"""The command that hands a trained model on: `export`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from transferzoo.cli import output
from transferzoo.cli.app import app
from transferzoo.cli.options import JsonOption
from transferzoo.errors import invalid
from transferzoo.ground.quiet import load_keras
from transferzoo.ground.storage.files import check_path, check_writable, refuse_full_folder


class FormatName(StrEnum):
    """What a model may be written as."""

    saved_model = "saved_model"
    onnx = "onnx"
    litert = "litert"
    openvino = "openvino"


class Precision(StrEnum):
    """What an exported model's weights may be."""

    float32 = "float32"
    float16 = "float16"
    int8 = "int8"


@app.command(
    name="export",
    epilog="Examples: [bold]transferzoo export runs/mobilenet onnx mobilenet.onnx[/], "
    "[bold]transferzoo export runs/mobilenet litert m.tflite --precision int8 --out runs/mobilenet-int8[/]",
)
def export(
    run: Annotated[Path, typer.Argument(help="A run's folder.", show_default=False)],
    format: Annotated[FormatName, typer.Argument(help="The format.", show_default=False)],
    path: Annotated[
        Path,
        typer.Argument(
            help="A new .onnx, .tflite or .xml file, or a new folder for saved_model.", show_default=False
        ),
    ],
    precision: Annotated[
        Precision, typer.Option("--precision", help="Of the weights; float16 and int8: litert only.")
    ] = Precision.float32,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Also test the exported model on the run's test images, and save that as a run here.",
            show_default="not tested",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a trained model as ONNX, LiteRT, OpenVINO or SavedModel, and check that it computes the same."""
    if out is not None:
        out = check_path("out", out).absolute()
        refuse_full_folder(out)
        check_writable("out", out)
    load_keras()

    import transferzoo as tz
    from transferzoo.results.run_data import same_data

    result = tz.Result.load(run)
    data = same_data(result)
    if out is not None and data is None:
        raise invalid(
            "out",
            "left out for this run",
            str(out),
            remedy="Its dataset could not be loaded again to test on.",
        )
    made = result.export(format.value, path, precision=precision.value, data=data)
    tested = None
    if out is not None and data is not None:
        tested = tz.load_model(made.path).evaluate(data)
        tested.save(out)
    if as_json:
        row = None if tested is None else output.run_record(tested)
        output.print_json({**made.to_dict(), "run": row})
        return
    print(made)
    if tested is not None:
        print(f"{tested.headline()}\nSaved: {out}")
