"""Each lesson still runs after the changes that learners make first: another photo, another
size, a photo of their own."""
import json
import os
import re
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

import house
from notebook_server import environment

# Lesson → what the learner changes, and each text in the lesson with the text that replaces it. All
# must be there.
# own.jpg is a small photo that COCO does not know, in portrait format, with an odd number of rows.
changes = {
    "00_start": [
        ("an own photo, in portrait format", {'photos / "000000343937.jpg"': 'Path("own.jpg")'}),
        ("many people", {"000000343937": "000000005001"}),
    ],
    "01_images": [
        ("many people", {'"000000547336.jpg"': '"000000005001.jpg"'}),
        ("portrait format", {'"000000547336.jpg"': '"000000168974.jpg"'}),
        ("nobody in the photo", {'"000000547336.jpg"': '"000000041888.jpg"'}),
        ("an own photo, other colours and sizes", {
            'coco_root / "val2017" / "000000547336.jpg"': 'Path("own.jpg")',
            "(94, 129, 172)": "(0, 0, 0)", "side // 4": "side // 8"}),
    ],
    "02_metrics": [
        ("many people, a crowd, and portrait format",
         {"image_id = 165518": "image_id = 5001", "[547336, 349860]": "[456496, 183709]"}),
        ("nobody in the photo, and the same photo twice",
         {"image_id = 165518": "image_id = 41888", "[547336, 349860]": "[547336, 547336]"}),
        ("another threshold and fewer bins",
         {"hesitant >= 0.5": "hesitant >= 0.9", "bins=2": "bins=4"}),
    ],
    "03_methods": [
        ("several people, portrait format, nobody, and an own photo", {
            '["000000343937.jpg", "000000168974.jpg", "000000519208.jpg"]':
                '["000000252219.jpg", "000000183709.jpg", "000000030213.jpg"]',
            "for name in names]": 'for name in names] + [Path("own.jpg")]'}),
        ("one photo, smaller copies and another k", {
            '["000000343937.jpg", "000000168974.jpg", "000000519208.jpg"]': '["000000547336.jpg"]',
            "long_side = 200": "long_side = 96", "clusters = (2, 3, 6)": "clusters = (1, 4, 12)"}),
    ],
    "04_data_prep": [
        ("portrait format, one person, another size",
         {"photo_id = 165": "photo_id = 370", "(256, 256)": "(96, 160)"}),
        ("many people and a crowd", {"photo_id = 165": "photo_id = 174375"}),
        ("nobody in the photo", {"photo_id = 165": "photo_id = 72"}),
    ],
    "05_generator": [
        ("many people and a crowd, another size",
         {'name = "000000000370"': 'name = "000000174375"', "(160, 160)": "(96, 128)"}),
        ("landscape format, the first pairs, another batch",
         {'name = "000000000370"': 'name = "000000234748"', "start=9": "start=8",
          "batch_size=6": "batch_size=4"}),
    ],
    "06_model": [
        ("another photo, near the end of the list, and another size, not square", {
            "chosen = 2": "chosen = 9", "image_size = (192, 192)": "image_size = (128, 160)",
            "epochs=30": "epochs=1"}),
        ("an own photo, more halvings", {
            "frame, mask = val_pairs[chosen]":
                'frame = __import__("bg_remover.images", '
                'fromlist=["images"]).read_image("own.jpg")',
            "filters=(8, 16, 32, 64)": "filters=(4, 8, 8, 16, 16)", "epochs=30": "epochs=1"}),
    ],
    "07_training": [
        ("another size, another rate, other photos to watch, and a deeper net", {
            "image_size = (96, 96)": "image_size = (64, 96)",
            "learning_rate = 2e-3": "learning_rate = 1e-3",
            "most_epochs, patience = 60, 20": "most_epochs, patience = 2, 20",
            "[train_pairs[4], val_pairs[2], val_pairs[1]]":
                "[train_pairs[11], val_pairs[0], val_pairs[3]]",
            "filters=(8, 16, 32, 64)": "filters=(4, 8, 8, 16, 16)", "epochs=12": "epochs=1"}),
        ("another backbone", {
            "backbone = shipped.name.removesuffix(\"_unet\")": "backbone = \"resnet18\"",
            "for new, trained in pairs_of_layers: new.set_weights(trained.get_weights())": "",
            "most_epochs, patience = 60, 20": "most_epochs, patience = 1, 20",
            "epochs=12": "epochs=1"}),
    ],
    "08_visualization": [
        ("other photos first, another threshold", {
            "pairs[1]": "pairs[3]", "pairs[:8]": "pairs[8:]",
            "threshold = remover.probability, remover.threshold":
                "threshold = remover.probability, 0.7"}),
        ("photos of train2017, smaller copies", {
            'prepare_pairs(coco_root, "val", work_dir / "val", size=None)':
                'prepare_pairs(coco_root, "train", work_dir / "train", size=(96, 128))'}),
    ],
    "09_removal": [
        ("many people", {'"000000547336.jpg"': '"000000005001.jpg"'}),
        ("portrait format", {'"000000547336.jpg"': '"000000183709.jpg"'}),
        ("nobody in the photo, another colour",
         {'"000000547336.jpg"': '"000000041888.jpg"', "(0, 150, 80)": "(255, 255, 255)"}),
        ("an own photo", {'photos / name)': 'Path("own.jpg"))'}),
    ],
    "10_fine_tuning": [
        ("another size, fewer steps, other photos held out",
         {"(96, 96), 2, 3, 4": "(64, 96), 1, 2, 2",
          "holdout_fraction=0.6": "holdout_fraction=0.3"}),
    ],
    "11_today": [
        ("portrait format", {"000000252219": "000000183709", "000000547336": "000000168974"}),
        ("a crowd, an own photo, another grid", {
            "000000252219": "000000005001", "(24, 32)": "(12, 12)",
            'coco_root / "val2017" / portrait_photo': 'Path("own.jpg")'}),
    ],
}


def code_cells(lesson: str) -> list[str]:
    """The code that a learner runs: neither magics, nor the cells for the whole COCO or for a
    screen."""
    cells = json.loads((house.root / f"nbs/{lesson}.ipynb").read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return [re.sub(r"^[%!].*$", "", source, flags=re.M) for source in sources
            if not re.search(r"^#\|\s*(slow|notest)", source, re.M)]


def run_changed(lesson: str, replacements: dict[str, str]) -> str: # what went wrong, "" for nothing
    "Run the cells of a lesson with some texts replaced, in a namespace of their own."
    import matplotlib.pyplot as plt
    cells, namespace = code_cells(lesson), {"__name__": "__main__", "display": lambda *things: None}
    for old, new in replacements.items():
        if not any(old in cell for cell in cells):
            return f"the lesson no longer holds {old!r}; adapt the table in this test"
        cells = [cell.replace(old, new) for cell in cells]
    for cell in cells:
        try: exec(compile(cell, f"<a cell of {lesson}>", "exec"), namespace)
        except Exception: return f"{traceback.format_exc(limit=-3)}in the cell\n{cell}"
        plt.close("all")
    return ""


def copy_with_links(folder: Path):
    "A folder in which a lesson finds all that it reads, and can write without touching ours."
    (folder / "nbs").mkdir()
    for path in house.root.iterdir():
        if path.name != "nbs": (folder / path.name).symlink_to(path)
    for path in (house.root / "nbs").iterdir():
        if path.name != "_work": (folder / "nbs" / path.name).symlink_to(path)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("lesson", changes)
def test_a_lesson_survives_what_learners_change(lesson, tmp_path):
    from bg_remover.images import read_image, resize_image, write_image
    copy_with_links(tmp_path)
    photo = read_image(house.root / "nbs/samples/mini_coco/train2017/000000000308.jpg")
    write_image(tmp_path / "nbs/own.jpg", resize_image(photo, (301, 222)))
    variables = {**environment, "MPLBACKEND": "agg", "TQDM_DISABLE": "1",
                 "PYTHONWARNINGS": "ignore",
                 "PYTHONPATH": os.pathsep.join(map(str, [house.root, house.root / "tools"]))}
    done = subprocess.run([sys.executable, __file__, lesson], cwd=tmp_path / "nbs", env=variables,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-6000:]


if __name__ == "__main__": # one process for all changes of a lesson: the packages are imported once
    problems = {what: run_changed(sys.argv[1], replacements)
                for what, replacements in changes[sys.argv[1]]}
    sys.exit("\n\n".join(f"{what}: {problem}" for what, problem in problems.items() if problem)
             or 0)
