"""Make nbs/samples/mini_coco: a small COCO of freely licensed photos, in COCO's own layout.

    python recipes/make_samples.py COCO_ROOT [DEST]

COCO_ROOT holds annotations/instances_{train,val}2017.json, train2017/ and val2017/. The photos were
chosen by eye; their ids stand below with a word on why. The same COCO gives the same files again.
"""
import json
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as rle

from arguments import recipe_parser
from bg_remover.images import read_image, resize_image
from bg_remover.base.files import write_bytes

long_side, jpeg_quality = 480, 90
# Attribution, Attribution-ShareAlike, no known restrictions, United States Government
free_licenses = {4, 5, 7, 8}

chosen = {
    "train2017": {
        86: "grey, portrait, full figure", 165: "two people, half figure", 294: "one man indoors",
        308: "group outdoors, overlapping", 370: "child, close-up, an object in front",
        389: "close-up before a crowd", 436: "close-up, eating",
        459: "half figure in a mirror, dark suit", 529: "couple overlapping on a motorbike",
        542: "grey, group, overlapping", 790: "group at a table",
        129648: "crowd annotation, skater", 174375: "crowd annotation, tennis",
        234748: "full figure, dark clothes", 253955: "boy, close-up, portrait",
        253956: "full figure, portrait", 319492: "small and large people",
        352257: "full figure on a plain ground", 360452: "full figures behind a fence",
        412151: "busy background", 475546: "group, five in a row", 491525: "man behind a dog",
        547503: "group, cut by the border", 565248: "two riders, overlapping",
        72: "nobody: giraffes", 73: "nobody: motorbike",
    },
    "val2017": {
        5001: "crowd annotation, group, overlapping", 165518: "rider in fog, low contrast",
        168974: "toddler, close-up", 183709: "people from behind, cut by the border",
        252219: "three walkers", 343937: "full figure on snow", 349860: "in the air, full figure",
        357888: "half figure at home", 397133: "cook, busy background",
        456496: "grey, seated from behind", 519208: "close-up, plain ground",
        547336: "seen from above",
        30213: "nobody: kitchen", 41888: "nobody: birds",
    },
}


def scale_segmentation(segmentation, scale_x: float, scale_y: float, size: tuple[int, int]):
    """Polygons by multiplication; a run-length mask by nearest neighbour, kept uncompressed as
    COCO writes crowds."""
    if isinstance(segmentation, list):
        return [[round(number * (scale_x, scale_y)[place % 2], 2)
                 for place, number in enumerate(polygon)] for polygon in segmentation]
    mask = rle.decode(rle.frPyObjects(segmentation, *segmentation["size"]))
    flat = cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT).ravel(order="F")
    # the first run counts zeros, and may be empty
    edges = np.flatnonzero(np.diff(flat, prepend=0))
    return {"counts": np.diff(edges, prepend=0, append=flat.size).tolist(), "size": list(size)}


def scale_annotation(annotation: dict, old: tuple[int, int], new: tuple[int, int]) -> dict:
    "The same object on the resized photo."
    scale_y, scale_x = new[0] / old[0], new[1] / old[1]
    x, y, width, height = annotation["bbox"]
    return annotation | {
        "segmentation": scale_segmentation(annotation["segmentation"], scale_x, scale_y, new),
        "area": round(annotation["area"] * scale_x * scale_y, 2),
        "bbox": [round(number, 2)
                 for number in (x * scale_x, y * scale_y, width * scale_x, height * scale_y)]}


def make_split(root: Path, dest: Path, folder: str) -> list[dict]:
    "Write one split's photos and annotations; returns its image records."
    coco = json.loads((root / f"annotations/instances_{folder}.json").read_text())
    records = {record["id"]: record for record in coco["images"]}
    images, annotations = [], []
    for image_id in sorted(chosen[folder]):
        record = records[image_id]
        if record["license"] not in free_licenses:
            raise ValueError(f"{image_id}: its licence forbids passing it on")
        image = read_image(root / folder / record["file_name"])
        old = image.shape[:2]
        new = tuple(round(side * min(1, long_side / max(old))) for side in old)
        pixels = cv2.cvtColor(resize_image(image, new), cv2.COLOR_RGB2BGR)
        data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality])[1]
        write_bytes(dest / folder / record["file_name"], data.tobytes())
        images.append(record | {"height": new[0], "width": new[1]})
        annotations += [scale_annotation(one, old, new) for one in coco["annotations"]
                        if one["image_id"] == image_id]
    coco |= {"images": images, "annotations": annotations}
    write_bytes(dest / f"annotations/instances_{folder}.json",
                json.dumps(coco, separators=(",", ":")).encode())
    names = {license["id"]: f"[{license['name']}]({license['url']})"
             for license in coco["licenses"]}
    return [record | {"license_name": names[record["license"]], "folder": folder}
            for record in images]


def attribution(records: list[dict]) -> str:
    "The page that goes with the photos."
    columns = "| {id} | {folder}/{file_name} | {license_name} | {flickr_url} |"
    rows = [columns.format(**record) for record in records]
    return "\n".join([
        "# Where these photos come from", "",
        "The photos are from [COCO 2017](https://cocodataset.org), which took them from Flickr, "
        "where their authors gave",
        "them the licence in the table. **They were changed**: each was resized to a long side of "
        f"at most {long_side} pixels",
        f"and saved again as JPEG (quality {jpeg_quality}).", "",
        "The annotations are COCO's own, of all categories, by the COCO Consortium, under",
        "[CC BY 4.0](https://creativecommons.org/licenses/by/4.0/); polygons, boxes, areas and "
        "crowd masks were scaled",
        "with the photos. `recipes/make_samples.py` makes this folder.", "",
        "| id | file | licence | source |", "|---|---|---|---|", *rows, ""])


def main(root: Path, dest: Path):
    "Make the folder anew; another folder of that name is left alone."
    if dest.exists():
        if not (dest / "ATTRIBUTION.md").exists():
            sys.exit(f"{dest} exists and is not a sample folder: name another one")
        for folder in chosen: # before anything is removed
            annotations = root / f"annotations/instances_{folder}.json"
            if not (annotations.is_file() and (root / folder).is_dir()):
                sys.exit(f"{root}: no {folder} here; give a COCO folder")
        shutil.rmtree(dest)
    for folder in ("annotations", *chosen): (dest / folder).mkdir(parents=True)
    records = [record for folder in chosen for record in make_split(root, dest, folder)]
    write_bytes(dest / "ATTRIBUTION.md", attribution(records).encode())
    size = sum(path.stat().st_size for path in dest.rglob("*") if path.is_file())
    print(f"{len(records)} photos, {size / 1e6:.2f} MB in {dest}")


if __name__ == "__main__":
    parser = recipe_parser(__doc__, "coco_root")
    parser.add_argument("dest", type=Path, nargs="?",
                        default=Path(__file__).resolve().parents[1] / "nbs/samples/mini_coco")
    options = parser.parse_args()
    main(options.coco_root, options.dest)
