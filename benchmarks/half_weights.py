"""Write a weights file again in half precision, and how far its numbers moved.

The weights that are part of the library were made so. Each array is rounded to float16; a file of which an
array does not fit is refused.

    transferzoo fit resnet20 --dataset cifar10 --recipe from_scratch --save-backbone resnet20.weights.h5
    python benchmarks/half_weights.py resnet20.weights.h5 resnet20-half.weights.h5
"""

import hashlib
from pathlib import Path

from reporting import parser, table, write_json


def main():
    """Convert, print, and write where that was asked for."""
    made = parser(__doc__)
    made.add_argument("source", type=Path, help="a .weights.h5 file")
    made.add_argument("target", type=Path, help="a new .weights.h5 file")
    options = made.parse_args()
    if options.target.exists():
        raise SystemExit(f"{options.target} is there already; nothing was written")
    counted = half(options.source, options.target)
    sha256 = hashlib.sha256(options.target.read_bytes()).hexdigest()
    size = options.target.stat().st_size
    columns = ("file", "numbers", "bytes", "largest change, share of an array's largest")
    print(table(columns, [(options.target.name, counted["numbers"], size, f"{counted['moved']:.2g}")]))
    setting = f"sha256:{sha256}"
    print(f"\n{setting}")
    write_json(options.json, {"setting": setting, **counted, "bytes": size})


def half(source, target):
    """Copy a weights file with its arrays in float16; return how many numbers, and how far they moved."""
    import h5py
    import numpy as np

    counted = {"numbers": 0, "moved": 0.0}
    with h5py.File(source) as old, h5py.File(target, "w") as new:

        def copy(name, node):
            if not isinstance(node, h5py.Dataset):
                group = new.require_group(name)
            else:
                values = node[()]
                rounded = values.astype("float16")
                if not np.isfinite(rounded).all():
                    raise SystemExit(f"{name} holds numbers that are too large for float16")
                largest = float(np.abs(values).max()) or 1.0
                moved = float(np.abs(rounded.astype("float64") - values).max()) / largest
                counted["numbers"] += values.size
                counted["moved"] = max(counted["moved"], moved)
                group = new.create_dataset(name, data=rounded)
            for key, value in node.attrs.items():
                group.attrs[key] = value

        old.visititems(copy)
        for key, value in old.attrs.items():
            new.attrs[key] = value
    return counted


if __name__ == "__main__":
    main()
