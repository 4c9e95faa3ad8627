"""Commands that look things up: `list` and `info`, and `cache`."""

from __future__ import annotations

import dataclasses
import sys
from enum import StrEnum
from typing import Annotated, Any

import typer

from transferzoo.cli import output
from transferzoo.cli.app import app
from transferzoo.cli.options import JsonOption, load_keras
from transferzoo.errors import InvalidInputError, invalid, unknown_name
from transferzoo.ground.metrics import bytes_in_words

cache = typer.Typer(
    name="cache",
    help="Show or clear the features kept on disk.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
app.add_typer(cache)


class Kind(StrEnum):
    """What `list` can list."""

    backbones = "backbones"
    heads = "heads"
    datasets = "datasets"
    recipes = "recipes"


class Available(StrEnum):
    """How a backbone's weights may be had."""

    published = "published"
    local = "local"
    none = "none"


@app.command(
    "list",
    epilog="Examples: [bold]transferzoo list[/], [bold]transferzoo list 'mobilenet*'[/], "
    "[bold]transferzoo list --max-parameters 5[/], [bold]transferzoo list --kind recipes[/]",
)
def list_command(
    pattern: Annotated[str, typer.Argument(help="Names, with wildcards.")] = "*",
    kind: Annotated[Kind, typer.Option("--kind", "-k", help="What to list.")] = Kind.backbones,
    family: Annotated[str | None, typer.Option("--family", help="Backbones of one family.")] = None,
    max_parameters: Annotated[
        float | None, typer.Option("--max-parameters", metavar="MILLIONS", help="Backbones no larger.")
    ] = None,
    max_macs: Annotated[
        float | None,
        typer.Option("--max-macs", metavar="MILLIONS", help="Backbones with no more multiply-adds."),
    ] = None,
    image_size: Annotated[
        int | None, typer.Option("--image-size", help="Backbones that take images this small.")
    ] = None,
    weights: Annotated[
        Available | None, typer.Option("--weights", help="Backbones by their weights.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List backbones, heads, datasets or recipes."""
    import transferzoo as tz

    given: dict[str, Any] = {
        "family": family,
        "max_parameters": None if max_parameters is None else int(max_parameters * 1e6),
        "max_multiply_adds": None if max_macs is None else int(max_macs * 1e6),
        "image_size": image_size,
        "weights": None if weights is None else weights.value,
    }
    limits = {name: value for name, value in given.items() if value is not None}
    if limits and kind is not Kind.backbones:
        raise invalid(
            f"--{next(iter(limits)).replace('_', '-')}", "left out unless backbones are listed", kind.value
        )
    names = getattr(tz, f"list_{kind.value}")(pattern, **limits)
    if not names:
        within = " within the limits given" if limits else ""
        raise InvalidInputError(
            f"None of the {kind.value} fits '{pattern}'{within}. tz.list_{kind.value}() shows them.",
            argument="pattern",
            value=pattern,
        )
    if as_json:
        output.print_json([record_of(kind.value, name) for name in names])
        return
    if kind is Kind.backbones:
        table = output.table("backbone", "family", ">parameters", ">MACs", ">pixels", ">top-1", "weights")
        for name in names:
            record = tz.backbone_info(name)
            table.add_row(
                name,
                record.family,
                f"{record.parameters / 1e6:,.2f} M" if record.parameters else "?",
                f"{record.multiply_adds / 1e6:,.0f} M" if record.multiply_adds else "?",
                str(record.native_size),
                f"{record.top1:.1f} %" if record.top1 is not None else "–",
                ", ".join(weights.name for weights in record.weights) or "none: from scratch",
            )
    elif kind is Kind.heads:
        table = output.table("head", "parts")
        for name in names:
            table.add_row(name, str(tz.head_info(name)))
    elif kind is Kind.datasets:
        table = output.table("dataset", "what it is")
        for name in names:
            table.add_row(name, tz.dataset_info(name).description)
    else:
        table = output.table("recipe", "when to use it")
        for name in names:
            table.add_row(name, tz.recipe_info(name).description)
    output.console().print(table)


@app.command(epilog="Example: [bold]transferzoo info mobilenet[/]")
def info(
    name: Annotated[str, typer.Argument(help="A backbone, dataset, recipe or head.")],
    as_json: JsonOption = False,
) -> None:
    """Show what is known about a backbone, dataset, recipe or head."""
    import json

    import transferzoo as tz
    from transferzoo.backbones.catalog import BACKBONES
    from transferzoo.backbones.hub import PREFIX

    if name.startswith(PREFIX):
        load_keras()
    if as_json:
        kinds = [kind.value for kind in Kind if name in getattr(tz, f"list_{kind.value}")()]
        kinds += [Kind.backbones.value] if name.startswith(PREFIX) else []
        if kinds:
            output.print_json([record_of(kind, name) for kind in kinds])
            return
    found = False
    if name in BACKBONES:
        found = True
        output.console().print(output.backbone_table(tz.backbone_info(name)))
    if name in tz.list_heads():
        print(f"{chr(10) if found else ''}head '{name}': {tz.head_info(name)}")
        found = True
    if name in tz.list_datasets():
        found = True
        output.console().print(output.dataset_table(tz.dataset_info(name)))
    if name in tz.list_recipes():
        found = True
        print(json.dumps(tz.recipe_info(name).to_dict(), indent=2))
    if not found:
        every = [*tz.list_backbones(), *tz.list_heads(), *tz.list_datasets(), *tz.list_recipes()]
        show = "transferzoo list, with --kind heads, datasets or recipes,"
        raise unknown_name("backbone, head, dataset or recipe", name, every, show)


def record_of(kind: str, name: str) -> dict[str, Any]:
    """Return what is known of a name, as plain JSON types; functions are left out."""
    import transferzoo as tz

    found = getattr(tz, f"{kind.removesuffix('s')}_info")(name)
    if kind == "recipes":
        return {"kind": "recipe", **found.to_dict()}
    if kind == "heads":
        return {"kind": "head", "name": name, "parts": str(found)}
    fields = {each.name: getattr(found, each.name) for each in dataclasses.fields(found)}
    record = {key: value for key, value in fields.items() if key not in ("builder", "loader")}
    for key in ("preprocessing", "weights"):
        if key in record:
            value = record[key]
            parts = value if isinstance(value, tuple) else [value]
            plain_parts = [dataclasses.asdict(part) for part in parts]
            record[key] = plain_parts if isinstance(value, tuple) else plain_parts[0]
    if "arguments" in record:
        record["arguments"] = dict(record["arguments"])
    return {"kind": kind.removesuffix("s"), **record}


@cache.command("list", epilog="Example: [bold]transferzoo cache list[/]")
def cache_list() -> None:
    """List the features kept on disk, the ones used last first."""
    import transferzoo as tz

    store = tz.FeatureStore()
    entries = store.entries()
    table = output.table("what", ">images", ">shape", ">size", "last used")
    for entry in entries:
        about = dict(entry.description)
        size = "×".join(map(str, about.get("image_size", ())))
        words = [str(about.get("backbone", "?")), f"at {size}" if size else "", str(about.get("layer", ""))]
        table.add_row(
            ", ".join(word for word in words if word),
            f"{entry.shape[0]:,}",
            "×".join(map(str, entry.shape[1:])),
            bytes_in_words(entry.size_bytes),
            f"{entry.last_used.astimezone():%Y-%m-%d %H:%M}",
        )
    if entries:
        output.console().print(table)
    total = sum(entry.size_bytes for entry in entries)
    most = bytes_in_words(store.max_bytes)
    print(f"{len(entries)} kept, {bytes_in_words(total)} of at most {most}, in {store.folder}")


@cache.command("clear", epilog="Example: [bold]transferzoo cache clear --older-than 30[/]")
def cache_clear(
    older_than: Annotated[
        float | None,
        typer.Option("--older-than", help="Leave what was used within this many days.", show_default="all"),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete the features kept on disk; they are computed again when needed."""
    import transferzoo as tz

    store = tz.FeatureStore()
    if not yes and sys.stdin.isatty():
        which = f"not used for {older_than:g} days " if older_than is not None else ""
        if not typer.confirm(f"Delete the features {which}in {store.folder}?"):
            print("Nothing was deleted.")
            return
    freed = store.clear(older_than_days=older_than)
    print(f"Freed {bytes_in_words(freed)}; {len(store.entries())} kept, in {store.folder}")
