"""Whether our Ramer-Douglas-Peucker equals two libraries' on every stroke of the mirror's Quick, Draw! drawings.

    python benchmarks/thinning.py --mirror ../shared/data --out thinning.json

Rivals: `simplification` (the Rust crate `geo`) and `rdp`, the latter given the distance to the segment, and so slow
that `--every 10` asks it about each tenth stroke only. Where the kept points differ, each choice is checked against
the algorithm's definition: if both keep one of the farthest points at every step, the difference is a tie between
equally far points (`simplification` keeps the last of them, ours and `rdp` the first; formulas round differently).
Anything else is unexplained, and the script leaves with 1. Prints a table, writes JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]


def compare(
    strokes: list[np.ndarray], ours: list[list[int]], theirs: list[list[int]], epsilon: float
) -> dict[str, int]:
    """Return how many strokes are equal, differ by a tie, and are not explained."""
    from tests.ink.rdp_truth import follows_rdp

    found = {"strokes": len(theirs), "equal": 0, "ties": 0, "unexplained": 0}
    for stroke, mine, other in zip(strokes, ours, theirs, strict=True):
        if mine == other:
            found["equal"] += 1
        elif follows_rdp(mine, stroke, epsilon) and follows_rdp(other, stroke, epsilon):
            found["ties"] += 1
        else:
            found["unexplained"] += 1
    return found


def main() -> None:
    """Read, simplify three ways, compare."""
    sys.path.insert(0, str(ROOT))
    import orjson
    from rdp import rdp
    from simplification.cutil import simplify_coords_idx

    from ink.rdp import rdp_mask
    from tests.ink.rdp_truth import segment_distance

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mirror", type=Path, required=True)
    parser.add_argument("--epsilon", type=float, default=2.0)
    parser.add_argument("--every", type=int, default=1, help="ask the package rdp about each so manieth stroke")
    parser.add_argument("--out", type=Path, default=Path("thinning.json"))
    arguments = parser.parse_args()
    epsilon = arguments.epsilon
    strokes = [
        np.array(stroke[:2], np.float64).T
        for path in sorted((arguments.mirror / "quickdraw/full/raw").glob("*.ndjson"))
        for line in path.read_bytes().splitlines()
        for stroke in orjson.loads(line)["drawing"]
    ]
    flat = np.concatenate(strokes)
    offsets = np.concatenate([[0], np.cumsum([len(stroke) for stroke in strokes])])
    mask = rdp_mask(flat[:, 0], flat[:, 1], offsets, epsilon)
    ours = [np.flatnonzero(part).tolist() for part in np.split(mask, offsets[1:-1])]
    rust = [[int(i) for i in simplify_coords_idx(stroke, epsilon)] for stroke in strokes]
    result: dict[str, Any] = {"epsilon": epsilon, "points": len(flat)}
    result["simplification"] = compare(strokes, ours, rust, epsilon)
    some = range(0, len(strokes), arguments.every)
    python = [np.flatnonzero(rdp(strokes[n], epsilon, dist=segment_distance, return_mask=True)).tolist() for n in some]
    result["rdp"] = compare([strokes[n] for n in some], [ours[n] for n in some], python, epsilon)
    for name in ("simplification", "rdp"):
        print(f"{name:15}", ", ".join(f"{what} {count:,}" for what, count in result[name].items()))
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    sys.exit(any(result[name]["unexplained"] for name in ("simplification", "rdp")))


if __name__ == "__main__":
    main()
