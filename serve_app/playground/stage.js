/**
 * Draws the image and the masks on one canvas, and above it the prompts' marks and the highlighted mask on another. So a
 * pointer that moves over a hundred masks draws one of them.
 */

import { COLOURS } from "./state.js";
import { fit } from "./viewport.js";

const FILL = 0.42;
const FILL_HIGHLIGHTED = 0.45; // above the mask itself
const OUTLINE = 2;
const HALO = "rgba(8, 10, 16, 0.55)";
const PIXELS_FROM = 6; // from this scale on, pixels are shown as squares
const LIKE = "#2fd07a";
const UNLIKE = "#ff5468";

export class Stage {
  #context;
  #above;
  #asked = false;
  #all = false;
  /** The scene to draw; the page sets it. */
  scene = {
    image: null, instances: [], prompts: [], highlighted: null, active: null,
    drawing: null, cursor: null, selectedMark: null, showMasks: true,
  };
  #view = { scale: 1, x: 0, y: 0 };
  #fitted = false;
  size = { width: 1, height: 1 };

  /** @param {HTMLCanvasElement} canvas @param {HTMLCanvasElement} above of the same place and size */
  constructor(canvas, above, onResize = () => {}) {
    this.canvas = canvas;
    this.above = above;
    this.#context = canvas.getContext("2d");
    this.#above = above.getContext("2d");
    new ResizeObserver(() => {
      this.#resize();
      onResize();
    }).observe(canvas);
    this.#resize();
  }

  get view() {
    return this.#view;
  }

  set view(view) {
    this.#view = view;
    this.#fitted = false;
  }

  /** Show the whole image, also when the stage changes its size. */
  fit() {
    if (this.scene.image) this.view = fit(this.scene.image, this.size);
    this.#fitted = true;
    this.redraw();
  }

  /** Draw at the next frame; several calls before it draw once. */
  redraw() {
    this.#all = true;
    this.redrawMarks();
  }

  /** Draw the marks and the highlighted mask at the next frame. */
  redrawMarks() {
    if (this.#asked) return;
    this.#asked = true;
    requestAnimationFrame(() => {
      this.#asked = false;
      this.#draw();
    });
  }

  #resize() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height) return;
    const ratio = globalThis.devicePixelRatio || 1;
    // The point in the middle stays there.
    this.#view = {
      scale: this.#view.scale, x: this.#view.x + (width - this.size.width) / 2, y: this.#view.y + (height - this.size.height) / 2,
    };
    this.size = { width, height };
    if (this.#fitted && this.scene.image) this.#view = fit(this.scene.image, this.size);
    for (const canvas of [this.canvas, this.above]) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    this.#all = true;
    this.#draw();
  }

  #draw() {
    const { image, instances, showMasks } = this.scene;
    const ratio = globalThis.devicePixelRatio || 1;
    const { scale } = this.view;
    if (this.#all && this.#begin(this.#context)) {
      this.#context.imageSmoothingEnabled = scale * ratio < PIXELS_FROM;
      this.#context.imageSmoothingQuality = "high";
      this.#context.drawImage(image.bitmap, 0, 0, image.width, image.height);
      if (showMasks) drawInstances(this.#context, instances, scale);
    }
    this.#all = false;
    if (!this.#begin(this.#above)) return;
    if (showMasks) this.#drawHighlighted(this.#above, scale);
    this.#drawMarks(this.#above, scale);
  }

  /** Clear a canvas and set its transformation; returns true if there is an image to draw. */
  #begin(context) {
    const ratio = globalThis.devicePixelRatio || 1;
    const { scale, x, y } = this.view;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.setTransform(scale * ratio, 0, 0, scale * ratio, x * ratio, y * ratio);
    return Boolean(this.scene.image);
  }

  #drawHighlighted(context, scale) {
    const { instances, highlighted } = this.scene;
    const instance = highlighted && instances.find(({ key, hidden }) => key === highlighted && !hidden);
    if (instance) drawInstances(context, [instance], scale, FILL_HIGHLIGHTED, OUTLINE + 1);
  }

  #drawMarks(context, scale) {
    const { prompts, active, selectedMark, drawing, cursor } = this.scene;
    const isSelected = (id, part, index) =>
      selectedMark?.id === id && selectedMark.part === part && selectedMark.index === index;
    for (const prompt of prompts) {
      if (prompt.hidden) continue;
      context.globalAlpha = prompt.id === active ? 1 : 0.75;
      if (prompt.kind === "concept") {
        prompt.examples.forEach(({ box, like }, index) => {
          drawBox(context, box, like ? LIKE : UNLIKE, scale, { dashed: !like, strong: isSelected(prompt.id, "examples", index) });
          drawSign(context, box.x0, box.y0, like, scale);
        });
      } else {
        if (prompt.box) drawBox(context, prompt.box, COLOURS[prompt.colour], scale, { strong: isSelected(prompt.id, "box", 0) });
        prompt.points.forEach((point, index) =>
          drawSign(context, point.x, point.y, point.positive, scale, isSelected(prompt.id, "points", index)),
        );
      }
    }
    context.globalAlpha = 1;
    if (drawing) drawBox(context, drawing.box, drawing.colour, scale, { dashed: true });
    if (cursor) drawCursor(context, cursor, scale);
  }
}

/** Fill and outline every shown instance. scale: screen pixels per image pixel, so that lines keep their width. */
export function drawInstances(context, instances, scale, fill = FILL, outline = OUTLINE) {
  const shown = instances.filter((instance) => !instance.hidden);
  context.globalAlpha = fill;
  for (const instance of shown) {
    context.fillStyle = COLOURS[instance.prompt.colour];
    context.fill(instance.mask.path, "evenodd");
  }
  context.globalAlpha = 1;
  context.lineJoin = "round";
  for (const instance of shown) {
    stroke(context, instance.mask.path, (2 * outline) / scale, HALO);
    stroke(context, instance.mask.path, outline / scale, COLOURS[instance.prompt.colour]);
  }
}

function stroke(context, path, width, style) {
  context.lineWidth = width;
  context.strokeStyle = style;
  context.stroke(path);
}

function drawBox(context, { x0, y0, x1, y1 }, colour, scale, { dashed = false, strong = false }) {
  const path = new Path2D();
  path.rect(x0, y0, x1 - x0, y1 - y0);
  stroke(context, path, (strong ? 7 : 4) / scale, HALO);
  if (dashed) context.setLineDash([6 / scale, 4 / scale]);
  stroke(context, path, (strong ? 4 : 2) / scale, colour);
  context.setLineDash([]);
}

/** A disc with a plus or a minus, so that colour is not the only difference. */
function drawSign(context, x, y, positive, scale, strong = false) {
  const radius = (strong ? 11 : 8) / scale;
  const arm = radius * 0.5;
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fillStyle = positive ? LIKE : UNLIKE;
  context.fill();
  context.lineWidth = 2 / scale;
  context.strokeStyle = strong ? "#000" : "#fff";
  context.stroke();
  context.beginPath();
  context.moveTo(x - arm, y);
  context.lineTo(x + arm, y);
  if (positive) {
    context.moveTo(x, y - arm);
    context.lineTo(x, y + arm);
  }
  context.strokeStyle = "#06120b";
  context.stroke();
}

function drawCursor(context, { x, y }, scale) {
  const path = new Path2D();
  const [inner, outer] = [4 / scale, 16 / scale];
  for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
    path.moveTo(x + dx * inner, y + dy * inner);
    path.lineTo(x + dx * outer, y + dy * outer);
  }
  stroke(context, path, 4 / scale, "#000");
  stroke(context, path, 2 / scale, "#fff");
}

/** The topmost mark of a prompt within reach of a point. */
export function markAt(prompts, x, y, reach) {
  for (const prompt of [...prompts].reverse()) {
    if (prompt.hidden) continue;
    if (prompt.kind === "object") {
      for (let index = prompt.points.length - 1; index >= 0; index--) {
        const point = prompt.points[index];
        if (Math.hypot(point.x - x, point.y - y) <= reach) return { id: prompt.id, part: "points", index };
      }
      if (prompt.box && nearEdge(prompt.box, x, y, reach / 2)) return { id: prompt.id, part: "box", index: 0 };
    } else {
      for (let index = prompt.examples.length - 1; index >= 0; index--) {
        if (nearEdge(prompt.examples[index].box, x, y, reach / 2)) return { id: prompt.id, part: "examples", index };
      }
    }
  }
  return null;
}

function nearEdge({ x0, y0, x1, y1 }, x, y, reach) {
  const within = x > x0 - reach && x < x1 + reach && y > y0 - reach && y < y1 + reach;
  return within && !(x > x0 + reach && x < x1 - reach && y > y0 + reach && y < y1 - reach);
}
