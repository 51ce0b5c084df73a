/** Shows the video tab's model in the document. */

import { byId, setText } from "./dom.js";
import { TOOLS } from "./tools.js";
import { marksIn } from "./video_state.js";

const TICK_MS = 500;
const PATIENCE_MS = 400;
const WAITS = { opening: "Opening the video", asking: "Waiting for the answer", tracking: "Tracking" };

export class VideoView {
  #scheduled = false;

  /** parts: {page, stage, showTexts, showObjects}. */
  constructor(parts) {
    Object.assign(this, parts);
    setInterval(() => this.#showWaiting(), TICK_MS);
  }

  schedule() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    requestAnimationFrame(() => {
      this.#scheduled = false;
      this.#render();
    });
  }

  #render() {
    const { page, stage } = this;
    const { state, image, instances } = page;
    const before = stage.scene.image;
    const isNew = image && (before?.width !== image.width || before?.height !== image.height);
    Object.assign(stage.scene, {
      image, instances, prompts: page.marks, active: state.active, highlighted: page.hovered,
      drawing: page.drawing, cursor: page.cursor, showMasks: page.showMasks,
    });
    if (before !== image) before?.discard?.(); // not earlier: the stage may have drawn it meanwhile
    if (isNew) stage.fit();
    stage.redraw();
    stage.canvas.dataset.tool = page.tool;
    stage.canvas.dataset.view = JSON.stringify(stage.view);
    const scores = new Map(instances.map(({ key, score }) => [key, score]));
    const objects = state.objects.filter(({ removed }) => !removed);
    this.showObjects(objects.map((object) => ({
      object, score: scores.get(object.id) ?? null, active: object.id === state.active, highlighted: object.id === page.hovered,
    })));
    this.showTexts(state.texts);
    setText(byId("object-count"), objects.length ? String(objects.length) : "");
    byId("every-label").hidden = !state.texts.length;
    this.#showEmpty(objects);
    this.#showRow();
    this.#showTools();
    this.#showWaiting();
    // For tests and scripts that drive the page.
    const settled = !page.doing && (!image || page.pictured === page.frame);
    document.body.dataset.video = settled ? "idle" : "busy";
  }

  #showEmpty(objects) {
    const { page } = this;
    const hint = byId("no-objects");
    hint.hidden = objects.length > 0;
    setText(hint, page.image ? "Click on an object in the frame, or name a concept. Then track it." : "Open a video to begin.");
  }

  #showRow() {
    const { page } = this;
    const { source, frame, last, state } = page;
    const tracking = page.doing === "tracking";
    const track = byId("track");
    setText(track.querySelector("span"), tracking ? "Stop" : "Track");
    track.querySelector("use").setAttribute("href", tracking ? "#i-stop" : "#i-play");
    track.title = tracking ? "Stop; what came so far stays (T)" : "Follow the objects from this frame to the last one (T)";
    track.disabled = !page.image;
    const scrubber = byId("scrubber");
    scrubber.disabled = !page.image;
    scrubber.max = String(last);
    scrubber.value = String(frame);
    scrubber.style.setProperty("--filled", `${last ? (frame / last) * 100 : 0}%`);
    scrubber.setAttribute("aria-valuetext", `frame ${frame + 1} of ${last + 1}`);
    byId("video-previous").disabled = !page.image || frame <= 0;
    byId("video-next").disabled = !page.image || frame >= last;
    setText(byId("frame-place"), source ? `${frame + 1} of ${last + 1}` : "");
    setText(byId("video-tracked"), state.frames.size ? `${state.frames.size} of ${last + 1} frames answered` : "");
    for (const id of ["video-coco", "video-mot", "video-frame-masks"]) byId(id).disabled = !state.frames.size || tracking;
    drawCoverage(byId("coverage"), state, last + 1);
  }

  #showTools() {
    const { page, stage } = this;
    for (const button of byId("video-tools").querySelectorAll("[data-tool]")) {
      button.setAttribute("aria-pressed", String(button.dataset.tool === page.tool));
    }
    byId("video-masks").setAttribute("aria-pressed", String(page.showMasks));
    byId("video-undo").disabled = !page.history.canUndo;
    byId("video-redo").disabled = !page.history.canRedo;
    const hint = page.image ? TOOLS[page.tool].hint : "Open a video to begin.";
    setText(byId("video-hint"), page.corner ? "Move to the opposite corner and press Enter." : hint);
    setText(byId("video-zoom"), page.image ? `${Math.round(stage.view.scale * (globalThis.devicePixelRatio || 1) * 100)} %` : "–");
  }

  #showWaiting() {
    const { page } = this;
    const passed = performance.now() - page.since;
    const seconds = Math.floor(passed / 1000);
    const waiting = byId("video-waiting");
    waiting.hidden = !page.doing || passed < PATIENCE_MS;
    document.body.classList.toggle("busy-video", Boolean(page.doing));
    if (page.doing) setText(waiting, seconds ? `${WAITS[page.doing]}, ${seconds} s` : `${WAITS[page.doing]}…`);
  }
}

/** A pixel for each frame: answered, and prompted. */
function drawCoverage(canvas, state, count) {
  const width = Math.min(count, 4096);
  if (canvas.width !== width) canvas.width = width;
  const context = canvas.getContext("2d");
  const { color } = getComputedStyle(canvas);
  const at = (frame) => Math.floor((frame * width) / count);
  context.clearRect(0, 0, width, 1);
  context.fillStyle = color;
  for (const frame of state.frames.keys()) context.fillRect(at(frame), 0, 1, 1);
  context.fillStyle = PROMPTED;
  for (const frame of state.prompts.keys()) if (marksIn(state, frame).length) context.fillRect(at(frame), 0, 1, 1);
  for (const { frame } of state.texts) context.fillRect(at(frame), 0, 1, 1);
}

const PROMPTED = "#ffb224";
