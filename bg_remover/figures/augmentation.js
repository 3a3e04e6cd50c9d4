// Turn, zoom, light and flip a photo with its mask, draw what training draws, and see the classic
// mistake.
import {
  readPixels, plane, makeFigure, makeCanvas, makeSlider, makeSwitch, makeButton, change, redraw,
} from "./shared.js";

// Which place of the photo, already shrunk to `size`, each pixel (x, y) of the window shows, as in
// `apply_view` of 05_generator: column = a x + b y + c, row = d x + e y + f.
function makeView({ turn, zoom, flip }, [width, height], size) {
  const angle = (turn * Math.PI) / 180;
  const [cos, sin] = [Math.cos(angle) / zoom, Math.sin(angle) / zoom];
  const [wide, high] = [size[0] / width, size[1] / height], side = flip ? -1 : 1;
  const [a, b, d, e] = [side * cos * wide, -sin * wide, side * sin * high, cos * high];
  const [x, y] = [0.5 - width / 2, 0.5 - height / 2]; // from the middle to the first pixel
  return [a, b, a * x + b * y + size[0] / 2 - 0.5, d, e, d * x + e * y + size[1] / 2 - 0.5];
}

// A photo made smaller, so that no pixel is skipped: each new pixel is the mean of what it covers.
function shrink(photo, size) {
  let { data, width, height } = photo;
  if (size[0] === width && size[1] === height) return photo;
  const pass = (from, count, smaller, lines, step, stride, newStep, newStride) => {
    const to = new Float32Array(4 * smaller * lines), scale = count / smaller;
    for (let i = 0; i < smaller; i++) {
      for (let at = Math.floor(i * scale); at < Math.min(count, (i + 1) * scale); at++) {
        const share = (Math.min(at + 1, (i + 1) * scale) - Math.max(at, i * scale)) / scale;
        for (let line = 0; line < lines; line++) {
          const source = 4 * (line * stride + at * step);
          const target = 4 * (line * newStride + i * newStep);
          for (let c = 0; c < 4; c++) to[target + c] += share * from[source + c];
        }
      }
    }
    return to;
  };
  data = pass(data, width, size[0], height, 1, width, 1, size[0]);
  data = pass(data, height, size[1], size[0], size[0], 1, size[0], 1);
  return { data: data.map(Math.round), width: size[0], height: size[1] };
}

// A place beyond the edge is mirrored back, as OpenCV's BORDER_REFLECT_101 does.
function mirror(at, count) {
  if (at >= 0 && at < count) return at;
  if (count === 1) return 0;
  const inside = Math.abs(at) % (2 * count - 2);
  return inside < count ? inside : 2 * count - 2 - inside;
}

// The photo through the window, between four pixels, with new light: contrast about the average,
// then brightness.
function lookAt({ data, width, height }, [a, b, c0, d, e, f], image, { contrast, brightness }) {
  const colours = new Float32Array(3 * image.width * image.height);
  let average = 0;
  for (let y = 0, i = 0; y < image.height; y++) {
    for (let x = 0; x < image.width; x++, i += 3) {
      const column = a * x + b * y + c0, row = d * x + e * y + f;
      const left = Math.floor(column), top = Math.floor(row);
      const right = column - left, below = row - top;
      const x0 = mirror(left, width), x1 = mirror(left + 1, width);
      const y0 = mirror(top, height) * width, y1 = mirror(top + 1, height) * width;
      for (let c = 0; c < 3; c++) {
        const upper = data[4 * (y0 + x0) + c] * (1 - right) + data[4 * (y0 + x1) + c] * right;
        const lower = data[4 * (y1 + x0) + c] * (1 - right) + data[4 * (y1 + x1) + c] * right;
        average += colours[i + c] = Math.round(upper * (1 - below) + lower * below);
      }
    }
  }
  const offset = (average / colours.length) * (1 - contrast + brightness);
  for (let i = 0, to = 0; i < colours.length; i += 3, to += 4) {
    for (let c = 0; c < 3; c++) image.data[to + c] = Math.round(colours[i + c] * contrast + offset);
    image.data[to + 3] = 255;
  }
  return image;
}

// The mask through the window: the nearest pixel, so that no new value appears.
function lookAtMask(mask, [a, b, c, d, e, f], [width, height], size) {
  const moved = new Uint8Array(mask.length);
  const nearest = (at, count, smaller) =>
    Math.floor(((mirror(at, smaller) + 0.5) * count) / smaller);
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      const column = Math.round(a * x + b * y + c), row = Math.round(d * x + e * y + f);
      moved[i] = mask[nearest(row, height, size[1]) * width + nearest(column, width, size[0])];
    }
  }
  return moved;
}

// A photo with its people tinted blue and its crowds orange, as `overlay_mask` shows them.
function overlay(image, mask) {
  const tinted = new ImageData(new Uint8ClampedArray(image.data), image.width, image.height);
  for (let i = 0; i < mask.length; i++) {
    const colour = mask[i] === 255 ? [0, 114, 178] : mask[i] === 128 ? [230, 159, 0] : null;
    if (!colour) continue;
    for (let c = 0; c < 3; c++) tinted.data[4 * i + c] = (image.data[4 * i + c] + colour[c]) / 2;
  }
  return tinted;
}

const still = { turn: 0, zoom: 1, contrast: 1, brightness: 0, flip: false };

export default {
  async render({ model, el }) {
    const { photo, mask, draws } = model.get("data"), names = [...Object.keys(still), "moves"];
    const { root, stage, controls, result } = makeFigure(el,
      "What does the network learn if the photo moves and its mask stays? Predict, then switch.",
      "Nothing fails when the mask stays behind: the network is simply taught that parts of the "
      + "background are people.");
    const before = makeCanvas(stage, "before"), after = makeCanvas(stage, "after, with its mask");
    const signed = (value) => Number(value).toFixed(2), times = (value) => `${signed(value)}×`;
    makeSlider(controls, model, "turn", "Turn", [-45, 45, 1], (value) => `${Math.round(value)}°`);
    makeSlider(controls, model, "zoom", "Zoom", [0.5, 2, 0.01], times);
    makeSlider(controls, model, "contrast", "Contrast", [0.5, 1.5, 0.01], times);
    makeSlider(controls, model, "brightness", "Brightness", [-0.5, 0.5, 0.01], signed);
    makeSwitch(controls, model, "flip", "Flip");
    makeSwitch(controls, model, "moves", "The mask moves too");
    let next = 0; // of the draws that training's own steps made
    makeButton(controls, "Surprise me", () => change(model, draws[next++ % draws.length]));
    makeButton(controls, "As it was", () => change(model, still));

    const picture = await readPixels(photo), { width, height } = picture;
    const labels = plane(await readPixels(mask));
    before.show(overlay(picture, labels), "the photo with its mask");
    const draw = () => {
      const state = Object.fromEntries(names.map((name) => [name, model.get(name)]));
      const window = [width, height];
      const size = window.map((side) => Math.min(side, Math.round(side * state.zoom)));
      const view = makeView(state, window, size), moved = lookAtMask(labels, view, window, size);
      const shown = state.moves ? moved : labels;
      const wrong = shown.reduce((sum, value, i) => sum + (value !== moved[i]), 0) / labels.length;
      const seen = lookAt(shrink(picture, size), view, new ImageData(width, height), state);
      after.show(overlay(seen, shown), "the changed photo with its mask");
      result.textContent = `${(100 * wrong).toFixed(1)} % of the labels are wrong`;
      Object.assign(root.dataset, { ready: "true", wrong });
    };
    redraw(model, names, draw);
  },
};
