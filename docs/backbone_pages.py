"""Make a page for each backbone, and one table of all, from the library's own records. Called by mkdocs."""

from mkdocs.structure.files import File

import transferzoo as tz
from transferzoo.backbones.backbone import RAW

COLUMNS = ("backbone", "family", "parameters", "multiply-adds", "pixels", "features", "ImageNet top-1")


def on_files(files, config):
    """Add the pages to those that mkdocs found."""
    names = tz.list_backbones()
    files.append(File.generated(config, "backbones/all.md", content=table(names)))
    for name in names:
        files.append(File.generated(config, f"backbones/{name}.md", content=page(tz.backbone_info(name))))
    return files


def table(names):
    """Return the page with all backbones."""
    lines = [
        "# All backbones\n",
        "From the library's records, highest accuracy first. Parameters, multiply-adds (for one image of the "
        "size in pixels, without a head) and features were counted: `python benchmarks/count_backbones.py`. "
        "Accuracies were published with the weights, and were not measured here.\n",
        f"| {' | '.join(COLUMNS)} |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for name in sorted(names, key=lambda name: (-(tz.backbone_info(name).top1 or 0), name)):
        record = tz.backbone_info(name)
        cells = [
            f"[`{name}`]({name}.md)",
            record.family,
            f"{record.parameters / 1e6:,.2f} M",
            f"{record.multiply_adds / 1e6:,.0f} M",
            str(record.native_size),
            f"{record.feature_channels:,}",
            "–" if record.top1 is None else f"{record.top1:.1f} %",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def place(weights):
    """Return where a weights file is."""
    return "[part of the library](../shipped-weights.md)" if weights.shipped else f"<{weights.url}>"


def page(record):
    """Return the page of one backbone."""
    how, side = record.preprocessing, record.native_size
    rows = {
        "family": record.family,
        "paper": record.paper,
        "parameters": f"{record.parameters:,}, without a head",
        "multiply-adds": f"{record.multiply_adds:,} for an image of {side}×{side}",
        "features": f"{record.feature_channels:,} channels, a cell for each {record.reduction}×"
        f"{record.reduction} pixels",
        "smallest image": f"{record.minimum_size} pixels a side",
        "small images": f"enlarged to {record.default_size} pixels where published weights are used",
        "pixels": "RGB, 0 to 255, as they are"
        if how == RAW
        else f"{how.channels.upper()}, (pixel − {how.mean}) / {how.std}",
        "last convolution": f"`{record.last_convolution}`" if record.last_convolution else "",
        "stems": ", ".join(f"`{stem}`" for stem in record.stems),
        "ImageNet top-1": f"{record.top1:.1f} %, as published: {record.top1_source}" if record.top1 else "",
        "licence of the code": record.licence,
        "note": record.note,
    }
    if not record.weights:
        del rows["small images"]
        rows["weights"] = "none are published: trained from scratch"
    for weights in record.weights:
        rows[f"weights `{weights.name}`"] = (
            f"{weights.trained_on}; {weights.licence}; {weights.source}; "
            f"{place(weights)}; {weights.hash or 'its publisher gives no hash'}"
        )
    weights = ", weights=None"
    if record.weights:
        first = record.weights[0].name
        weights = "" if first == "imagenet" else f', weights="{first}"'
    lines = [f"# {record.name}\n", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in rows.items() if value]
    lines += [
        "\n```{.python .no-run}",
        "import transferzoo as tz\n",
        f'model = tz.build("{record.name}", num_classes=10{weights})',
        "```\n",
        "[All backbones](all.md) · [how to use one](../backbones.md)",
    ]
    return "\n".join(lines) + "\n"
