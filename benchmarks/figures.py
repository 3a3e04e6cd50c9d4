"""The live figures of the lessons in Chromium: do their numbers agree with Python's, and how fast
do they answer? `python benchmarks/figures.py` prints two tables and keeps them in
benchmarks/results/figures.csv and figures_speed.csv.

    agreement    what a figure shows for some settings, as it is stored in its notebook, and what
                 the package computes for the same
    speed        milliseconds from the change of a control until everything is drawn, on a photo
                 whose longer side is 320 pixels; median and slowest of about 100
"""
import argparse
import base64
import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from claims import write_table

from bg_remover.base.figures import figure_source, live_figure, mime_type
from bg_remover.classical import region_growing_mask, threshold_mask
from bg_remover.data_prep import open_coco, person_mask
from bg_remover.generator import Plan, apply_light, apply_view, mirror
from bg_remover.images import composite, read_image, resize_image, resize_mask
from bg_remover.metrics import score
from bg_remover.removal import alpha_from, estimate_foreground

root = Path(__file__).resolve().parent.parent
sys.path += [str(root / "docs"), str(root / "tools")]
import house
from chromium import open_browser

samples, results = root / "nbs/samples/mini_coco", root / "benchmarks/results"


def stored_figures() -> dict[str, dict]: # "03_methods methods-10" → name, data and state
    "The live figures that the notebooks hold."
    found = {}
    for path in [*house.notebooks(), *house.solutions()]:
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for output in cell.get("outputs", []):
                if mime_type in output.get("data", {}):
                    place = path.relative_to(root / "nbs").with_suffix("").as_posix()
                    found[f"{place} {cell['id']}"] = output["data"][mime_type]
    return found


class Touched:
    "A figure on a page of its own, with hands."
    def __init__(self, page, figure: dict):
        script = (root / "docs/_static/figures.js").read_text(encoding="utf-8")
        style = (root / "bg_remover/figures/figures.css").read_text(encoding="utf-8")
        text = json.dumps({**figure, "source": figure_source(figure["name"])})
        page.goto("about:blank")
        page.set_content(f"""<!doctype html><style>{style}</style><div class="live-figure-place"
            ><script type="application/json">{text}</script><img alt=""></div><script>{script}
            </script>""")
        page.wait_for_selector(".live-figure[data-ready]")
        self.page, self.data = page, figure["data"]

    def set(self, **controls):
        "Move controls as a reader does: each has the name of what it changes."
        for name, value in controls.items():
            control = self.page.locator(f".live-figure [name={name}]")
            kind = control.evaluate("control => control.type")
            if kind == "select-one": control.select_option(str(value))
            elif kind == "checkbox": control.set_checked(value)
            else: control.fill(str(value))

    def shows(self, what: str) -> float:
        return float(self.page.locator(".live-figure").get_attribute(f"data-{what}"))

    def picture(self, number: int) -> np.ndarray: # uint8 H×W×3
        "What one of its canvases shows."
        height, width, data = self.page.locator(".live-figure canvas").nth(number).evaluate(
            """canvas => [canvas.height, canvas.width, [...canvas.getContext("2d").getImageData(
                0, 0, canvas.width, canvas.height).data]]""")
        return np.uint8(data).reshape(height, width, 4)[..., :3]

    def milliseconds(self, name: str, values) -> list[float]:
        "How long a control takes to be answered, for each of its values."
        control = self.page.locator(f".live-figure [name={name}]")
        return control.evaluate("""async (control, values) => {
                const times = [];
                for (const value of values) {
                    control.value = value;
                    const start = performance.now();
                    control.dispatchEvent(new Event(control.type === "range" ? "input" : "change"));
                    await null; // what has changed together is drawn after the event
                    times.push(performance.now() - start);
                }
                return times; }""", list(values))


def decoded(url: str) -> np.ndarray: # uint8 H×W×3
    "A picture of a figure's data."
    data = np.frombuffer(base64.b64decode(url.partition(",")[2]), np.uint8)
    return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


Rows = Iterator[tuple[str, float, float]] # settings, what the figure shows, what Python computes


def threshold_rows(figure: Touched) -> Rows:
    for number, (url, mask_url) in enumerate(zip(figure.data["photos"], figure.data["masks"])):
        photo, mask = decoded(url), decoded(mask_url)[..., 0]
        if len(figure.data["photos"]) > 1: figure.set(photo=number)
        for channel, threshold in (("grey", 0), ("grey", 128), ("red", 161), ("blue", 45)):
            plane = {"red": photo[..., 0], "blue": photo[..., 2]}.get(channel)
            image = photo if plane is None else np.dstack([plane] * 3)
            figure.set(channel=channel, threshold=threshold)
            yield (f"photo {number + 1}, {channel}, threshold {threshold}", figure.shows("iou"),
                   score(threshold_mask(image, threshold), mask)["iou"])


def growing_rows(figure: Touched) -> Rows:
    for number, (url, mask_url) in enumerate(zip(figure.data["photos"], figure.data["masks"])):
        photo, mask = decoded(url), decoded(mask_url)[..., 0]
        height, width = mask.shape
        figure.set(photo=number)
        for seed, tolerance in (((height // 2, width // 2), 40), ((height // 3, width // 2), 90),
                                ((0, width - 1), 25), ((height - 1, 3), 0)):
            figure.set(row=seed[0], column=seed[1], tolerance=tolerance)
            region, settings = region_growing_mask(photo, seed, tolerance), f"photo {number + 1}, "
            settings += f"seed {seed[0]}, {seed[1]}, tolerance {tolerance}"
            yield settings, figure.shows("iou"), score(region, mask)["iou"]
            yield f"{settings}: pixels", figure.shows("pixels"), int(region.sum())
            shown = figure.picture(1)
            found = shown[..., 0] > 100 # white or orange
            yield f"{settings}: pixels that differ", int((found != region).sum()), 0


def cutout_rows(figure: Touched) -> Rows:
    pictures = {name: decoded(url) for name, url in figure.data.items()}
    photo, mask = pictures["photo"], pictures["mask"][..., 0]
    grounds = {"black": (0, 0, 0), "green": (0, 150, 80), "photo": pictures["background"]}
    for threshold, softness, refined, estimated, background in (
            (0.45, 0.2, True, True, "black"), (0.45, 0.2, False, False, "black"),
            (0.3, 0.3, True, True, "photo"), (0.8, 0.02, False, True, "green")):
        figure.set(threshold=threshold, softness=softness, refined=refined, estimated=estimated,
                   background=background)
        probability = pictures["refined" if refined else "stretched"][..., 0] / np.float32(255)
        computed = score(probability, mask, threshold)
        settings = f"threshold {threshold}, softness {softness}, refined {refined}"
        yield f"{settings}: IoU", figure.shows("iou"), computed["iou"]
        yield f"{settings}: boundary IoU", figure.shows("boundary"), computed["boundary_iou"]
        alpha = alpha_from(probability, threshold, softness)
        colours = estimate_foreground(photo, alpha) if estimated else photo
        ours = composite(np.dstack([colours, alpha]), grounds[background])
        error = np.abs(figure.picture(1).astype(int) - ours).mean() / 255
        yield f"{settings}, estimated {estimated}, on {background}: mean difference", error, 0.0


def kernel_rows(figure: Touched) -> Rows:
    grey = np.float32(decoded(figure.data["photo"])[..., 0])
    height, width = grey.shape
    for preset, numbers in figure.data["presets"].items():
        answer = cv2.filter2D(grey, -1, np.float32(numbers).reshape(3, 3),
                              borderType=cv2.BORDER_CONSTANT)
        figure.set(preset=preset)
        for row, column in ((0, 0), (height // 2, width // 3), (height - 1, width - 2)):
            figure.set(row=row, column=column)
            yield (f"{preset}, row {row}, column {column}: sum", figure.shows("sum"),
                   float(answer[row, column]))
        size = np.abs(answer)
        picture = np.round(255 * (size - size.min()) / max(np.ptp(size), 1e-9))
        yield (f"{preset}: mean difference of the response",
               float(np.abs(figure.picture(1)[..., 0] - picture).mean()) / 255, 0.0)


def learning_rows(figure: Touched) -> Rows:
    masks, answers = ([decoded(url)[..., 0] for url in figure.data[name]]
                      for name in ("masks", "answers"))
    for epoch in (1, max(1, len(answers) // 3), len(answers)):
        figure.set(epoch=epoch)
        for number, (mask, answer) in enumerate(zip(masks, np.hsplit(answers[epoch - 1], 3))):
            yield (f"epoch {epoch}, {figure.data['kinds'][number]} ({number + 1})",
                   figure.shows(f"iou{number}"), score(answer / np.float32(255), mask)["iou"])


def augmentation_rows(figure: Touched) -> Rows:
    photo, mask = decoded(figure.data["photo"]), decoded(figure.data["mask"])[..., :1]
    for turn, zoom, flip, contrast, brightness in ((0, 1, True, 1, 0), (-20, 1.5, False, 0.8, 0.2),
                                                   (9, 0.8, True, 1.4, -0.3)):
        settings = dict(turn=turn, zoom=zoom, flip=flip, contrast=contrast, brightness=brightness)
        figure.set(moves=False, **settings)
        plan, angle = Plan(photo.shape[:2]), np.radians(turn)
        plan.view[:, :2] = np.array([[np.cos(angle), -np.sin(angle)],
                                     [np.sin(angle), np.cos(angle)]]) / zoom
        if flip: mirror(plan, None)
        plan.colour *= contrast
        plan.colour[:, 3] += 1 - contrast + brightness
        frame, moved = apply_view(plan, photo, mask)
        frame = apply_light(plan, frame)
        name = ", ".join(f"{key} {value}" for key, value in settings.items())
        yield f"{name}: wrong labels", figure.shows("wrong"), float((moved != mask).mean())
        figure.set(moves=True)
        ours = frame.astype(int)
        for number, colour in ((255, (0, 114, 178)), (128, (230, 159, 0))):
            there = moved[..., 0] == number
            ours[there] = (frame[there] + np.array(colour) + 1) // 2
        error = np.abs(figure.picture(1) - ours).mean() / 255
        yield f"{name}: mean difference of the picture", float(error), 0.0


comparisons = {"threshold": threshold_rows, "growing": growing_rows, "cutout": cutout_rows,
               "kernel": kernel_rows, "learning": learning_rows,
               "augmentation": augmentation_rows}


def example(side: int = 320) -> tuple[np.ndarray, np.ndarray]: # uint8 H×W×3, uint8 H×W
    "A photo whose longer side is so long, and its true mask."
    coco, image_id = open_coco(samples, "val"), 168974
    photo = read_image(samples / "val2017" / coco.imgs[image_id]["file_name"])
    size = tuple(round(length * side / max(photo.shape[:2])) for length in photo.shape[:2])
    return resize_image(photo, size), resize_mask(person_mask(coco, image_id), size)


# how each figure starts, and what its controls are moved to
starts = {"threshold": dict(photo=0, channel="grey", threshold=128),
          "growing": dict(photo=0, row=100, column=120, tolerance=40),
          "cutout": dict(threshold=0.45, softness=0.2, refined=True, estimated=True,
                         background="green"),
          "kernel": dict(preset="edges", kernel=[1, 0, -1] * 3, row=100, column=120),
          "augmentation": dict(turn=0, zoom=1, contrast=1, brightness=0, flip=False, moves=True),
          "learning": dict(epoch=1)}
moves = {"threshold": dict(threshold=range(78, 178), channel=["red", "grey"] * 50),
         "growing": dict(tolerance=range(10, 110), row=range(60, 160)),
         "cutout": dict(threshold=[number / 200 for number in range(50, 150)],
                        background=["green", "black"] * 50),
         "kernel": dict(preset=["average", "edges"] * 50, row=range(60, 160)),
         "augmentation": dict(turn=[*range(-45, 45)],
                              contrast=[number / 100 for number in range(50, 150)]),
         "learning": dict(epoch=range(1, 101))}


def large_data() -> dict[str, dict]: # by name
    "What each figure shows: a photo of 320 pixels."
    photo, mask = example()
    soft, one = cv2.GaussianBlur(mask, (0, 0), 3), dict(photos=[photo], masks=[mask])
    colours = cv2.cvtColor(cv2.medianBlur(photo, 5), cv2.COLOR_RGB2LAB)
    history = dict.fromkeys(("loss", "val_loss", "iou", "val_iou"), [0.5] * 100)
    return {"threshold": one, "growing": one | dict(colours=[colours]),
            "cutout": dict(photo=photo, mask=mask, stretched=mask, refined=soft),
            "kernel": dict(photo=photo[..., 1], presets={"edges": [1, 0, -1] * 3,
                                                         "average": [1 / 9] * 9}),
            "augmentation": dict(photo=photo, mask=mask, draws=[{}]),
            "learning": dict(photos=[photo] * 3, masks=[mask] * 3,
                             answers=[np.hstack([soft] * 3)] * 100,
                             kinds=["training photo"] * 3, history=history)}


def large_figures() -> Iterator[tuple[str, dict]]: # name, figure
    "Each figure on a photo of 320 pixels."
    photo = example()[0]
    for name, data in large_data().items():
        figure = live_figure(name, data, {"photo": photo}, **starts[name])
        yield name, figure._repr_mimebundle_()[mime_type]


def keep_table(name: str, rows: list[dict]):
    "Print a table, and keep it."
    write_table(results / name, rows)
    print("| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
    for row in rows: print("| " + " | ".join(map(str, row.values())) + " |")


def main():
    argparse.ArgumentParser(description=__doc__,
                            formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    agreement, speed = [], []
    with open_browser() as browser:
        page = browser.new_page()
        for place, figure in stored_figures().items():
            if not place[0].isdigit(): continue # not a lesson: the same figures again
            for settings, shown, computed in comparisons[figure["name"]](Touched(page, figure)):
                agreement.append({"figure": f"{figure['name']} ({place})", "settings": settings,
                                  "in JavaScript": f"{shown:.6g}", "in Python": f"{computed:.6g}"})
        for name, figure in large_figures():
            touched = Touched(page, figure)
            for control, values in moves[name].items():
                times = touched.milliseconds(control, values)
                speed.append({"figure": name, "control": control,
                              "median ms": round(statistics.median(times), 1),
                              "slowest ms": round(max(times), 1)})
    keep_table("figures.csv", agreement)
    keep_table("figures_speed.csv", speed)


if __name__ == "__main__":
    main()
