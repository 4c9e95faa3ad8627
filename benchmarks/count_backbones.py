"""What can be counted of each backbone: parameters, multiply-adds, channels, reduction, and more.

Each network is built at its native size from random weights, and counted. `--write` writes the counts of all
backbones into the library's table, `src/transferzoo/backbones/measured.py`; a test counts some of them again
and compares. `s` is the time to build one.

    python benchmarks/count_backbones.py
    python benchmarks/count_backbones.py 'mobilenet*'
    python benchmarks/count_backbones.py --write

`--activations` records instead what the backbones compute whose published weights are on this machine, from
one fixed image, in `src/transferzoo/backbones/activations.json`; `transferzoo weights verify` compares.

    python benchmarks/count_backbones.py --activations
"""

import contextlib
import json
import math
import time
from dataclasses import asdict
from pathlib import Path

from reporting import machine, parser, table, write_json

TABLE = Path(__file__).parents[1] / "src/transferzoo/backbones/measured.py"


def count(record):
    """Return what can be counted of a backbone, and the seconds that it took to build."""
    import keras

    from transferzoo.backbones.measured import Measured
    from transferzoo.backbones.strides import plan_strides
    from transferzoo.costs.macs import count_macs
    from transferzoo.errors import InvalidInputError

    side = record.native_size
    start = time.perf_counter()
    network = record.resolve_builder()(input_shape=(side, side, 3), **record.arguments)
    seconds = time.perf_counter() - start
    counted = count_macs(network)
    if counted.uncounted:
        raise SystemExit(f"{record.name}: not counted are {', '.join(counted.uncounted)}")
    stems = ("original",)
    # the stem of networks for small images has stride 1 already, and that of AlexNet adapts to the image
    if record.default_size > 32 and record.name != "alexnet":
        with contextlib.suppress(InvalidInputError):
            plan_strides(network, stem="stride1", name=record.name)
            stems = ("original", "stride1")
    kernels = [layer for layer in network.layers if hasattr(layer, "kernel_size") and layer.weights]
    # Keras counts such names up in each process: conv2d_94
    own = [layer.name for layer in kernels if not layer.name.startswith(automatic_name(layer))]
    last = kernels[-1].name if kernels and kernels[-1].name in own else None
    measured = Measured(
        parameters=network.count_params(),
        multiply_adds=counted.total,
        feature_channels=network.output_shape[-1],
        reduction=2 ** round(math.log2(side / network.output_shape[1])),
        last_convolution=last,
        stems=stems,
    )
    keras.backend.clear_session(free_memory=True)
    return measured, seconds


def automatic_name(layer):
    """Return what Keras calls a layer of this class that was given no name."""
    import keras

    return keras.src.utils.naming.to_snake_case(type(layer).__name__)


def written(counts):
    """Return the text of the library's table."""
    head, _, _ = TABLE.read_text(encoding="utf-8").partition("MEASURED: ")
    lines = []
    for name, each in sorted(counts.items()):
        numbers = f"{each.parameters:_}, {each.multiply_adds:_}, {each.feature_channels}, {each.reduction}"
        last = "None" if each.last_convolution is None else f'"{each.last_convolution}"'
        stems = (
            "" if len(each.stems) == 1 else f", ({', '.join(f'{chr(34)}{s}{chr(34)}' for s in each.stems)})"
        )
        lines.append(f'    "{name}": Measured({numbers}, {last}{stems}),')
    body = "\n".join(lines)
    table = f"defaultdict(\n    Measured,\n    {{\n{body}\n    }},\n)\n"
    return f"{head}MEASURED: defaultdict[str, Measured] = {table}"


def write_activations():
    """Record what networks compute whose weights are here; the others' records stay."""
    import transferzoo as tz
    from transferzoo.backbones.weight_files import file_at_hand
    from transferzoo.ground.storage.files import file_hash
    from transferzoo.models.activations import features_of_fixed_image, summary

    place = TABLE.with_name("activations.json")
    recorded = json.loads(place.read_text(encoding="utf-8"))
    for each in tz.weights.verify(activations=False):
        record = tz.backbone_info(each.backbone)
        path = file_at_hand(record, each.weights)
        recorded[f"{each.backbone}/{each.weights}"] = {
            "weights_sha256": file_hash(path),
            **summary(features_of_fixed_image(record, path)),
        }
        print(f"recorded: {each.backbone}, weights '{each.weights}', checked by {each.checked_by}")
    place.write_text(json.dumps(recorded, indent=1) + "\n", encoding="utf-8")


def main():
    """Count, and print or write."""
    made = parser(__doc__)
    made.add_argument("pattern", nargs="?", default="*", help="names, with wildcards (default: all)")
    made.add_argument("--write", action="store_true", help="write the library's table; of all backbones only")
    made.add_argument("--activations", action="store_true", help="record activations instead")
    arguments = made.parse_args()
    if arguments.activations:
        write_activations()
        return
    if arguments.write and arguments.pattern != "*":
        made.error("--write takes no pattern: it counts all backbones")

    import transferzoo as tz

    counts, seconds = {}, {}
    for name in tz.list_backbones(arguments.pattern):
        counts[name], seconds[name] = count(tz.backbone_info(name))
    print(f"machine: {machine()}\n")
    rows = [
        (
            name,
            f"{each.parameters:,}",
            f"{each.multiply_adds / 1e6:,.0f} M",
            each.feature_channels,
            each.reduction,
            each.last_convolution or "–",
            ", ".join(each.stems),
            f"{seconds[name]:.1f}",
        )
        for name, each in counts.items()
    ]
    columns = [
        "backbone",
        "parameters",
        "multiply-adds",
        "channels",
        "reduction",
        "last convolution",
        "stems",
        "s",
    ]
    print(table(columns, rows))
    if arguments.write:
        TABLE.write_text(written(counts), encoding="utf-8")
    figures = {
        name: {**asdict(each), "build_seconds": round(seconds[name], 2)} for name, each in counts.items()
    }
    write_json(
        arguments.json,
        {"setting": {"pattern": arguments.pattern, "machine": machine()}, "backbones": figures},
    )


if __name__ == "__main__":
    main()
