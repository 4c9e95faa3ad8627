"""Five networks with real weights on one dataset: accuracy against latency, and the best one within limits.

VGG16, MobileNet and MobileNetV2 (width 0.35) have ImageNet weights; ResNet-20 and MobileNet 0.25 have those
of CIFAR-10 that are part of the library. Each is a linear probe on features as they are, for several seeds.

    python benchmarks/frontier.py --out frontier.png
    python benchmarks/frontier.py --file vgg16=vgg16_imagenet_notop.h5

Latency is that of this machine: leave it alone meanwhile.
"""

from reporting import machine, parser, table, write_json

SHIPPED = {"resnet20": {}, "mobilenet_025": {"stem": "stride1"}}
LIMITS = ({"max_latency_ms": 5}, {"max_megabytes": 3}, {"max_gmacs": 0.05}, {"max_latency_ms": 0.01})


def model_of(name, options):
    """Return a backbone's own options, as `compare` takes them: its weights file, or weights that suit it."""
    files = dict(each.split("=", 1) for each in options.file)
    weights = files.get(name, "cifar10" if name in SHIPPED else "imagenet")
    return {
        "model": name,
        "weights": None if options.weights == "none" else weights,
        **SHIPPED.get(name, {}),
    }


def best(study, limits):
    """Return the best model within limits in words, or why there is none."""
    import transferzoo as tz

    try:
        return str(study.best(**limits))
    except tz.errors.InvalidInputError as error:
        return str(error)


def main():
    """Compare, print, and draw or write where that was asked for."""
    made = parser(__doc__)
    made.add_argument(
        "--backbones", nargs="+", default=["vgg16", "mobilenet", "mobilenet_v2_035", *SHIPPED], metavar="NAME"
    )
    made.add_argument(
        "--file", action="append", default=[], metavar="BACKBONE=PATH", help="a backbone's weights file"
    )
    made.add_argument("--dataset", default="digits", help="(default digits)")
    made.add_argument("--train", type=int, help="training images (default all)")
    made.add_argument("--seeds", type=int, default=3, help="(default 3)")
    made.add_argument("--weights", default="real", choices=("real", "none"), help="(default real)")
    made.add_argument("--out", metavar="FILE", help="also draw accuracy against latency")
    options = made.parse_args()
    import transferzoo as tz

    data = tz.load_dataset(options.dataset)
    if options.train:
        data = data.subset(train=options.train)
    study = tz.compare(
        {name: model_of(name, options) for name in options.backbones},
        data,
        recipe="linear_probe",
        seeds=range(options.seeds),
        lint=False,
        verbose=False,
    )
    rows = [
        (
            f"`{row['model']}`",
            f"{row['accuracy']:.1%} ({100 * row['accuracy_low']:.1f} to {100 * row['accuracy_high']:.1f})",
            f"{row['parameters'] / 1e6:.2f} M",
            f"{row['macs'] / 1e6:,.0f} M",
            f"{row['latency_ms']:.1f}",
        )
        for row in study.summary()
    ]
    setting = f"{machine()}; weights {options.weights}; {data!r}; seeds {options.seeds}"
    columns = ("network", "test accuracy", "parameters", "multiply-adds", "latency, ms")
    print(f"{setting}\n\n{table(columns, rows)}\n")
    print("\n".join(study.verdicts()))
    choices = {", ".join(f"{name}={value}" for name, value in each.items()): each for each in LIMITS}
    said = {name: best(study, limits) for name, limits in choices.items()}
    for name, words in said.items():
        print(f"\n{name}: {words}")
    if options.out:
        axes = study.plot(cost="latency_ms")
        axes.figure.savefig(options.out, dpi=120)
    write_json(
        options.json,
        {"setting": setting, "runs": study.to_records(), "verdicts": study.verdicts(), "best": said},
    )


if __name__ == "__main__":
    main()
