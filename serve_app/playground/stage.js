/** Draws the image, the masks and the prompts' marks on the canvas. */

import { COLOURS } from "./state.js";
import { fit } from "./viewport.js";

const FILL = 0.42;
const FILL_HIGHLIGHTED = 0.68;
const OUTLINE = 2;
const HALO = "rgba(8, 10, 16, 0.55)";
const PIXELS_FROM = 6; // from this scale on, pixels are shown as squares
const LIKE = "#2fd07a";
const UNLIKE = "#ff5468";

export class Stage {
  #context;
  #asked = false;
  /** The scene to draw; the page sets it. */
  scene = {
    image: null, instances: [], prompts: [], highlighted: null, active: null,
    drawing: null, cursor: null, selectedMark: null, showMasks: true,
  };
  view = { scale: 1, x: 0, y: 0 };
  size = { width: 1, height: 1 };

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas, onResize = () => {}) {
    this.canvas = canvas;
    this.#context = canvas.getContext("2d");
    new ResizeObserver(() => {
      this.#resize();
      onResize();
    }).observe(canvas);
    this.#resize();
  }

  fit() {
    if (this.scene.image) this.view = fit(this.scene.image, this.size);
    this.redraw();
  }

  /** Draw at the next frame; several calls before it draw once. */
  redraw() {
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
    this.view.x += (width - this.size.width) / 2;
    this.view.y += (height - this.size.height) / 2;
    this.size = { width, height };
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.#draw();
  }

  #draw() {
    const context = this.#context;
    const ratio = globalThis.devicePixelRatio || 1;
    const { scale, x, y } = this.view;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    const { image } = this.scene;
    if (!image) return;
    context.setTransform(scale * ratio, 0, 0, scale * ratio, x * ratio, y * ratio);
    context.imageSmoothingEnabled = scale * ratio < PIXELS_FROM;
    context.imageSmoothingQuality = "high";
    context.drawImage(image.bitmap, 0, 0, image.width, image.height);
    if (this.scene.showMasks) drawInstances(context, this.scene.instances, scale, this.scene.highlighted);
    this.#drawMarks(context, scale);
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
export function drawInstances(context, instances, scale, highlighted = null) {
  const shown = instances.filter((instance) => !instance.hidden);
  for (const instance of shown) {
    context.globalAlpha = instance.key === highlighted ? FILL_HIGHLIGHTED : FILL;
    context.fillStyle = COLOURS[instance.prompt.colour];
    context.fill(instance.mask.path, "evenodd");
  }
  context.globalAlpha = 1;
  context.lineJoin = "round";
  for (const instance of shown) {
    const width = (instance.key === highlighted ? OUTLINE + 1 : OUTLINE) / scale;
    stroke(context, instance.mask.path, width * 2, HALO);
    stroke(context, instance.mask.path, width, COLOURS[instance.prompt.colour]);
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
