"""Make of a whole COCO what person_model.py trains on: the run for which two cores and a few
thousand photos are too little.

    python recipes/coco_pairs.py COCO DATA
    python recipes/person_model.py train DATA RUN_DIR ENCODER.h5 --times 20
    python recipes/person_model.py ship DATA RUN_DIR --times 20

COCO is COCO 2017 as its zips unpack (nbs/04_data_prep.ipynb fetches it). DATA/pairs gets a pair of
each photo of train2017 with people, 64,115 in all, and of one without people for every five with
some; DATA/pairs/index.csv says to which split each belongs: of 128 photos with people one helps to
choose (`choose`), of 16 without people one counts false alarms (`alarm`), the others are trained
on. val2017 is left alone, so that it only confirms; DATA/coco is a link to COCO, for that. Called
again after an interruption it goes on. Twenty times the steps show each photo about as often as the
network that ships was shown its own; that takes a GPU, and nobody has run it yet.
"""
import csv
import io
from functools import partial
from pathlib import Path

from pycocotools.coco import COCO

from arguments import recipe_parser

from bg_remover.base.errors import report_problems
from bg_remover.base.files import write_bytes
from bg_remover.base.pairs import finished_names, make_batch
from bg_remover.data_prep import Job, open_coco, person_ids, prepare_pair, prepare_pairs


def choose_photos(coco: COCO) -> list[dict]:
    """Name, source and split of each photo to use. They follow from the annotations alone, so
    that no photo changes its split when a damaged one is put right."""
    people = person_ids(coco)
    empty = sorted(set(coco.imgs) - set(people))[:len(people) // 5]
    return [dict(name=Path(coco.imgs[image_id]["file_name"]).stem, source=source,
                 split="train" if place % every else held_out)
            for ids, source, held_out, every in ((people, "coco-train2017", "choose", 128),
                                                 (empty, "background", "alarm", 16))
            for place, image_id in enumerate(ids)]


def prepare_empty(photos: Path, coco: COCO, names: set[str], dest: Path):
    "Add pairs of photos without people."
    records = [record for record in coco.imgs.values() if Path(record["file_name"]).stem in names]
    jobs = [Job(photos / record["file_name"], [], (record["height"], record["width"]))
            for record in records]
    done = finished_names(dest)
    problems = make_batch([job for job in jobs if job.photo.stem not in done],
                          partial(prepare_pair, size=None), dest)
    report_problems([problem for problem in problems if problem],
                    "Fix them and try again: finished pairs are kept.")


def make(coco_root: Path, data: Path):
    "DATA as person_model.py expects it; the index is written last."
    pairs = prepare_pairs(coco_root, "train", data / "pairs", size=None)
    coco = open_coco(coco_root, "train")
    rows = choose_photos(coco)
    empty = {row["name"] for row in rows if row["source"] == "background"}
    prepare_empty(coco_root / "train2017", coco, empty, pairs)
    if not (data / "coco").exists(): (data / "coco").symlink_to(coco_root.absolute())
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(row for row in rows if (pairs / "masks" / f"{row['name']}.png").exists())
    write_bytes(pairs / "index.csv", text.getvalue().encode())


if __name__ == "__main__":
    options = recipe_parser(__doc__, "coco", "data").parse_args()
    make(options.coco, options.data)
