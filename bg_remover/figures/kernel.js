// Nine numbers over a grey photo: the response everywhere, and at one pixel its patch, nine
// products and their sum.
import {
  readPixels, plane, makeFigure, makeCanvas, makeSlider, makeMenu, change, pick, redraw, add,
} from "./shared.js";

// The sum of products at every pixel; beyond its border the photo is 0, as in `convolve_once` of
// 06_model.
function convolve(grey, width, height, kernel) {
  const answer = new Float32Array(grey.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      let sum = 0;
      for (let k = 0; k < 9; k++) {
        const row = y + Math.floor(k / 3) - 1, column = x + (k % 3) - 1;
        if (row < 0 || row >= height || column < 0 || column >= width) continue;
        sum += kernel[k] * grey[row * width + column];
      }
      answer[y * width + x] = sum;
    }
  }
  return answer;
}

// The size of the response as a picture: the smallest is black, the largest white.
function paint(answer, width, height) {
  let low = Infinity, high = 0;
  for (const value of answer) {
    low = Math.min(low, Math.abs(value));
    high = Math.max(high, Math.abs(value));
  }
  const image = new ImageData(width, height), scale = 255 / Math.max(high - low, 1e-9);
  for (let i = 0; i < answer.length; i++) {
    const shade = Math.round((Math.abs(answer[i]) - low) * scale);
    image.data.set([shade, shade, shade, 255], 4 * i);
  }
  return image;
}

// A picture with a yellow frame around the patch of one pixel.
function mark(picture, row, column) {
  const image = new ImageData(new Uint8ClampedArray(picture.data), picture.width, picture.height);
  for (let y = row - 2; y <= row + 2; y++) {
    for (let x = column - 2; x <= column + 2; x++) {
      const inside = Math.abs(y - row) < 2 && Math.abs(x - column) < 2;
      if (inside || x < 0 || y < 0 || x >= image.width || y >= image.height) continue;
      image.data.set([255, 200, 0, 255], 4 * (y * image.width + x));
    }
  }
  return image;
}

// A table of nine cells below a title.
function makeNine(parent, title, makeCell) {
  const box = add(parent, "div", { className: "live-nine", role: "group", ariaLabel: title });
  add(box, "div", { className: "live-caption", textContent: title });
  const grid = add(box, "div", { className: "live-grid" });
  return Array.from({ length: 9 }, (_, k) => makeCell(grid, k));
}

const short = (value) => String(Number(value.toFixed(Math.abs(value) < 10 ? 2 : 0)));

export default {
  async render({ model, el }) {
    const { photo, presets } = model.get("data");
    const { root, stage, controls, result } = makeFigure(el,
      "What does each kernel give where the photo is uniform, and what at an edge? Predict, then "
      + "point at a pixel.",
      "The numbers of an edge kernel add up to 0: where nothing changes, its nine products "
      + "cancel.");
    const before = makeCanvas(stage, "photo"), after = makeCanvas(stage, "response");
    const numbers = add(root, "div", { className: "live-numbers" });
    stage.after(numbers);
    const patches = makeNine(numbers, "nine pixels", (grid) => add(grid, "span"));
    const inputs = makeNine(numbers, "× the kernel", (grid, k) => {
      const ariaLabel = `kernel, row ${Math.floor(k / 3) + 1}, column ${(k % 3) + 1}`;
      return add(grid, "input", { type: "number", step: "any", name: `k${k}`, ariaLabel });
    });
    const products = makeNine(numbers, "= nine products", (grid) => add(grid, "span"));
    const offered = [...Object.keys(presets), "your own"];
    makeMenu(controls, model, "preset", "Kernel", offered.map((name) => [name, name]));
    const down = makeSlider(controls, model, "row", "Pixel: row", [0, 1, 1]);
    const across = makeSlider(controls, model, "column", "Pixel: column", [0, 1, 1]);

    const picture = await readPixels(photo), { width, height } = picture, grey = plane(picture);
    [down.max, across.max] = [height - 1, width - 1];
    [down.value, across.value] = [model.get("row"), model.get("column")];
    let answer;
    const point = () => { // all but the response depends on the pixel
      const kernel = model.get("kernel"), [row, column] = [model.get("row"), model.get("column")];
      for (let k = 0; k < 9; k++) {
        const y = row + Math.floor(k / 3) - 1, x = column + (k % 3) - 1;
        const pixel = y >= 0 && y < height && x >= 0 && x < width ? grey[y * width + x] : 0;
        patches[k].textContent = pixel;
        products[k].textContent = short(pixel * kernel[k]);
      }
      const sum = answer[row * width + column];
      before.show(mark(picture, row, column), `the photo, marked at row ${row}, column ${column}`);
      result.textContent = `The nine products add up to ${short(sum)}.`;
      Object.assign(root.dataset, { ready: "true", sum });
    };
    const draw = () => {
      const kernel = model.get("kernel");
      answer = convolve(grey, width, height, kernel);
      after.show(paint(answer, width, height), "the size of the response at each pixel");
      inputs.forEach((input, k) => {
        if (input !== document.activeElement) input.value = Number(kernel[k].toFixed(3));
      });
      point();
    };
    redraw(model, ["kernel"], draw);
    for (const name of ["row", "column"]) model.on(`change:${name}`, point);
    model.on("change:preset", () => {
      const kernel = presets[model.get("preset")];
      if (kernel) change(model, { kernel });
    });
    inputs.forEach((input, k) => input.addEventListener("input", () => {
      const kernel = model.get("kernel").map((value, i) => (i === k ? Number(input.value) : value));
      change(model, { preset: "your own", kernel });
    }));
    pick(before.canvas, (row, column) => change(model, { row, column }));
  },
};
