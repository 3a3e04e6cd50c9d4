// Draws the live figures of the lessons without a kernel: the same modules as in a notebook, with a
// model that only this page knows.
class Model {
  constructor(values) { this.values = values; this.listeners = {}; }
  get(name) { return this.values[name]; }
  set(name, value) {
    if (this.values[name] === value) return;
    this.values[name] = value;
    for (const act of this.listeners[`change:${name}`] ?? []) act();
  }
  on(event, act) { (this.listeners[event] ??= []).push(act); }
  save_changes() {} // nobody else has to know
}

async function start(place) {
  const { source, data, state } = JSON.parse(place.querySelector("script").textContent);
  const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const still = place.querySelector("img");
  const { default: figure } = await import(address);
  try {
    still.hidden = true;
    place.model = new Model({ ...state, data });
    await figure.render({ model: place.model, el: place });
  } catch (error) { // then the still picture stays
    still.hidden = false;
    place.querySelector(".live-figure")?.remove();
    throw error;
  }
}

addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll(".live-figure-place").forEach(start);
});
