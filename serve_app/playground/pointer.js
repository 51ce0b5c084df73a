/**
 * Turns mouse, pen and touch on the stage into gestures:
 *
 *   one pointer: idle -> pressed -> tap | drag | long press;   two fingers: pinch (from any of them) until both are up
 */

import { pan, toImage, zoomAt } from "./viewport.js";

const TAP_REACH = 5;
const TAP_REACH_TOUCH = 12;
const LONG_PRESS_MS = 500;

/**
 * on.tap(point, {negative}), on.drag(from, to), on.dragEnd(from, to), on.cancel(), on.hover(point | null), on.moved().
 * draws(): true if a drag draws a box; otherwise it moves the image. Points are in image pixels.
 * @param {import("./stage.js").Stage} stage
 * @returns {() => boolean} cancels the gesture that is under way, if there is one
 */
export function listenToPointers(stage, draws, on) {
  const { canvas } = stage;
  const pointers = new Map();
  let press = null;
  let pinched = false;
  let timer = 0;

  const place = (event) => {
    const frame = canvas.getBoundingClientRect();
    return { x: event.clientX - frame.left, y: event.clientY - frame.top };
  };
  const inImage = ({ x, y }) => toImage(stage.view, x, y);
  const move = (dx, dy) => {
    stage.view = pan(stage.view, dx, dy, stage.scene.image, stage.size);
    on.moved();
  };

  canvas.addEventListener("pointerdown", (event) => {
    if (!stage.scene.image) return;
    try {
      canvas.setPointerCapture(event.pointerId);
    } catch {
      // The pointer has been lifted already.
    }
    pointers.set(event.pointerId, place(event));
    clearTimeout(timer);
    if (pointers.size > 1) {
      press = null;
      pinched = true;
      on.cancel();
      return;
    }
    pinched = false;
    const at = place(event);
    press = { at, last: at, button: event.button, touch: event.pointerType === "touch", alt: event.altKey, dragging: false };
    if (press.touch && !draws()) {
      timer = setTimeout(() => {
        if (!press || press.dragging) return;
        on.tap(inImage(press.at), { negative: true });
        press = null;
      }, LONG_PRESS_MS);
    }
  });

  canvas.addEventListener("pointermove", (event) => {
    const at = place(event);
    if (pointers.size === 0) {
      on.hover(inImage(at), at);
      return;
    }
    const before = pointers.get(event.pointerId);
    if (!before) return;
    pointers.set(event.pointerId, at);
    if (pointers.size === 2) pinch(event.pointerId, before, at);
    else if (press && !pinched) dragTo(at);
  });

  function pinch(id, before, after) {
    const [other] = [...pointers].filter(([one]) => one !== id).map(([, point]) => point);
    const spread = (point) => Math.max(Math.hypot(point.x - other.x, point.y - other.y), 1);
    const middle = { x: (after.x + other.x) / 2, y: (after.y + other.y) / 2 };
    stage.view = zoomAt(stage.view, spread(after) / spread(before), middle.x, middle.y, stage.scene.image);
    move((after.x - before.x) / 2, (after.y - before.y) / 2);
  }

  function dragTo(at) {
    const reach = press.touch ? TAP_REACH_TOUCH : TAP_REACH;
    press.dragging ||= Math.hypot(at.x - press.at.x, at.y - press.at.y) > reach;
    if (!press.dragging) return;
    clearTimeout(timer);
    if (drawsWith(press)) on.drag(inImage(press.at), inImage(at));
    else move(at.x - press.last.x, at.y - press.last.y);
    press.last = at;
  }

  const drawsWith = ({ button }) => button === 0 && draws();

  canvas.addEventListener("pointerup", (event) => {
    clearTimeout(timer);
    if (!pointers.delete(event.pointerId)) return;
    const at = place(event);
    const ended = press;
    press = null;
    if (!ended || pinched) return;
    if (ended.dragging) {
      if (drawsWith(ended)) on.dragEnd(inImage(ended.at), inImage(at));
    } else if (ended.button !== 1) {
      on.tap(inImage(ended.at), { negative: ended.button === 2 || ended.alt });
    }
  });

  canvas.addEventListener("pointercancel", (event) => {
    clearTimeout(timer);
    pointers.delete(event.pointerId);
    press = null;
    on.cancel();
  });

  canvas.addEventListener("pointerleave", () => on.hover(null));
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener(
    "wheel",
    (event) => {
      if (!stage.scene.image) return;
      event.preventDefault();
      const { x, y } = place(event);
      if (event.shiftKey && !event.ctrlKey) return move(-(event.deltaX || event.deltaY), 0);
      const lines = event.deltaMode === 1 ? 20 : 1;
      const factor = Math.exp(-Math.max(-60, Math.min(60, event.deltaY * lines)) * (event.ctrlKey ? 0.012 : 0.004));
      stage.view = zoomAt(stage.view, factor, x, y, stage.scene.image);
      on.moved();
    },
    { passive: false },
  );

  return () => {
    const wasPressed = press !== null;
    clearTimeout(timer);
    press = null; // its pointer is still down: its moves until it is lifted mean nothing
    return wasPressed;
  };
}
