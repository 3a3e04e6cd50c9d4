"""Make of a whole COCO what person_model.py trains on: the run for which two cores and a few thousand photos are too little.

    python benchmarks/coco_pairs.py COCO DATA
    python benchmarks/person_model.py train DATA RUN_DIR ENCODER.h5 --times 20
    python benchmarks/person_model.py ship DATA RUN_DIR

COCO is COCO 2017 as its zips unpack (nbs/02_data_prep.ipynb fetches it). DATA/pairs gets a pair of each photo of train2017 with people, 64,115 in
all, and of one without people for every five with some; DATA/pairs/index.csv says to which split each belongs: of 128 photos with people one helps to choose
(`choose`), of 16 without people one counts false alarms (`alarm`), the others are trained on. val2017 is left alone, so that it only confirms;
DATA/coco is a link to COCO, for that. Called again after an interruption it goes on. Twenty times the steps show each photo about as often
as the network that ships was shown its own; that takes a GPU, and nobody has run it yet.
"""
import argparse
import csv
import io
from pathlib import Path

from bg_remover.data_prep import Job, open_coco, person_ids, prepare_batch, prepare_pairs, report_problems
from bg_remover.images import write_bytes


def prepare_empty(coco_root: Path, dest: Path, every: int):
    "Add pairs of photos without people: as many as one for `every` photos with people."
    coco = open_coco(coco_root, "train")
    people = person_ids(coco)
    records = [coco.imgs[image_id] for image_id in sorted(set(coco.imgs) - set(people))[:len(people) // every]]
    jobs = [Job(coco_root / "train2017" / record["file_name"], [], (record["height"], record["width"])) for record in records]
    problems = prepare_batch([job for job in jobs if not (dest / "masks" / f"{job.photo.stem}.png").exists()], dest, None)
    report_problems(problems, "Put them right and call again: finished pairs are kept.")


def index_rows(coco_root: Path, dest: Path) -> list[dict]:
    "Name, source and split of each pair there is."
    people = {f"{image_id:012}" for image_id in person_ids(open_coco(coco_root, "train"))}
    names = sorted(path.stem for path in (dest / "masks").glob("*.png"))
    rows = [dict(name=name, source="coco-train2017", split="train" if place % 128 else "choose") for place, name in enumerate(name for name in names if name in people)]
    return rows + [dict(name=name, source="background", split="train" if place % 16 else "alarm") for place, name in enumerate(name for name in names if name not in people)]


def make(coco_root: Path, data: Path):
    "DATA as person_model.py expects it; the index is written last."
    pairs = prepare_pairs(coco_root, "train", data / "pairs", size=None)
    prepare_empty(coco_root, pairs, every=5)
    if not (data / "coco").exists(): (data / "coco").symlink_to(coco_root.absolute())
    text = io.StringIO()
    writer = csv.DictWriter(text, ["name", "source", "split"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(index_rows(coco_root, pairs))
    write_bytes(pairs / "index.csv", text.getvalue().encode())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("coco", type=Path)
    parser.add_argument("data", type=Path)
    options = parser.parse_args()
    make(options.coco, options.data)
