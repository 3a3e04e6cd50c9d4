// Click a seed and drag the tolerance: the region of similar colour around it grows, and leaks.
import {
  readPixels, plane, makeFigure, makeCanvas, makeSlider, makeMenu, makeButton, change, pick, redraw,
  iou, compare, addLegend,
} from "./shared.js";

// In which step of `growth` (03_methods) each pixel is reached from the seed; -1 where it never is.
function grow({ data, width, height }, row, column, tolerance) {
  const steps = new Int32Array(width * height).fill(-1), queue = new Int32Array(width * height);
  const seed = row * width + column, colour = data.subarray(4 * seed, 4 * seed + 3);
  const visit = (pixel, step) => {
    if (steps[pixel] >= 0) return;
    let distance = 0;
    for (let c = 0; c < 3; c++) distance += (data[4 * pixel + c] - colour[c]) ** 2;
    if (distance > tolerance ** 2) return;
    steps[pixel] = step;
    queue[end++] = pixel;
  };
  let end = 0;
  visit(seed, 0);
  for (let place = 0; place < end; place++) {
    const pixel = queue[place], x = pixel % width, next = steps[pixel] + 1;
    if (pixel >= width) visit(pixel - width, next);
    if (pixel + width < width * height) visit(pixel + width, next);
    if (x > 0) visit(pixel - 1, next);
    if (x + 1 < width) visit(pixel + 1, next);
  }
  return { steps, last: steps[queue[end - 1]], size: end };
}

// The photo, red where the region is, with a cross on the seed.
function paint(photo, steps, limit, row, column) {
  const image = new ImageData(new Uint8ClampedArray(photo.data), photo.width, photo.height);
  for (let i = 0; i < steps.length; i++) {
    if (steps[i] < 0 || steps[i] > limit) continue;
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = image.data[4 * i + c] / 2 + (c ? 0 : 120);
  }
  const dot = (y, x) => {
    if (x < 0 || y < 0 || x >= photo.width || y >= photo.height) return;
    image.data.set([255, 230, 0], 4 * (y * photo.width + x));
  };
  for (let d = -5; d <= 5; d++) { dot(row + d, column); dot(row, column + d); }
  return image;
}

export default {
  async render({ model, el }) {
    const { photos, colours, masks } = model.get("data");
    const { root, stage, controls, result } = makeFigure(el,
      "Where do you put the seed, and how much tolerance does it need? Predict, then click.",
      "Raise the tolerance slowly: long before the region covers the person, it leaks into the "
      + "background through one weak spot.");
    const before = makeCanvas(stage, "photo"), after = makeCanvas(stage, "the region");
    addLegend(stage);
    makeSlider(controls, model, "tolerance", "Tolerance", [0, 160, 1]);
    const down = makeSlider(controls, model, "row", "Seed: row", [0, 1, 1]);
    const across = makeSlider(controls, model, "column", "Seed: column", [0, 1, 1]);
    if (photos.length > 1) {
      makeMenu(controls, model, "photo", "Photo", photos.map((_, i) => [i, `photo ${i + 1}`]));
    }

    const pictures = await Promise.all(photos.map(readPixels));
    const blurred = await Promise.all(colours.map(readPixels));
    const truths = (await Promise.all(masks.map(readPixels))).map((mask) => plane(mask));
    let grown, moving = 0; // the step up to which the growth is shown while it is watched
    const draw = (limit = Infinity) => {
      const photo = pictures[model.get("photo")], truth = truths[model.get("photo")];
      const found = grown.steps.map((step) => step >= 0 && step <= limit);
      before.show(paint(photo, grown.steps, limit, grown.row, grown.column),
        "the photo, red where the region is");
      after.show(compare(found, truth, photo.width, photo.height), "the region as a mask");
      return found;
    };
    redraw(model, ["photo", "row", "column", "tolerance"], () => {
      const index = model.get("photo"), { width, height } = pictures[index];
      [down.max, across.max] = [height - 1, width - 1];
      [down.value, across.value] = [model.get("row"), model.get("column")];
      const row = Math.min(model.get("row"), height - 1);
      const column = Math.min(model.get("column"), width - 1);
      grown = { row, column, ...grow(blurred[index], row, column, model.get("tolerance")) };
      moving = 0;
      const score = iou(draw(), truths[index]), share = grown.size / (width * height);
      result.textContent = `IoU ${score.toFixed(3)}, ${Math.round(100 * share)} % of the photo, `
        + `${grown.last} steps`;
      const { size: pixels, last: steps } = grown;
      Object.assign(root.dataset, { ready: "true", iou: score, pixels, steps });
    });
    model.on("change:photo", () => { // its seed is its middle, as in Python
      const { width, height } = pictures[model.get("photo")];
      change(model, { row: Math.floor(height / 2), column: Math.floor(width / 2) });
    });
    pick(before.canvas, (row, column) => change(model, { row, column }));
    makeButton(controls, "Watch it grow", () => {
      const start = performance.now(), mine = moving = start;
      const step = (now) => {
        if (mine !== moving) return; // something else was chosen
        const share = Math.min(1, (now - start) / 2000);
        draw(share * grown.last);
        if (share < 1) requestAnimationFrame(step);
      };
      requestAnimationFrame(step);
    });
  },
};
