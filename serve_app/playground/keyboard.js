/** Keyboard control: shortcuts outside text fields, and a keyboard cursor on the stage. */

import { announce } from "./notice.js";
import { reveal } from "./viewport.js";

const STEP = 12; // screen pixels
const REST_MS = 250;

/** Keys that mean the page even in a text field, as long as nothing was typed there. */
const UNDO_KEYS = ["ctrl+z", "ctrl+shift+z", "ctrl+y"];

/** commands(): a function for each key, at this moment; "ctrl+z" means with Control or Command. */
export function listenToShortcuts(commands) {
  const edited = editedFields();
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.altKey || document.querySelector("dialog[open]")) return;
    const control = event.ctrlKey || event.metaKey;
    const key = event.key.toLowerCase();
    const name = control ? `ctrl+${event.shiftKey ? "shift+" : ""}${key}` : key;
    const own = isTyping(event.target) && !(UNDO_KEYS.includes(name) && !edited.has(event.target));
    const command = own ? null : commands()[name];
    if (!command || (name === "enter" && event.target instanceof HTMLButtonElement)) return;
    event.preventDefault();
    command();
  });
}

/** Text fields with text that is typed and not yet sent. */
function editedFields() {
  const edited = new WeakSet();
  document.addEventListener("input", ({ target }) => edited.add(target));
  document.addEventListener("change", ({ target }) => edited.delete(target));
  document.addEventListener("submit", ({ target }) => {
    for (const field of target.elements) edited.delete(field);
  });
  return edited;
}

/** Escape in a text field outside dialogs leaves it. leave(field): called then. */
export function listenToEscape(leave) {
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !isTyping(event.target) || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    leave(event.target);
  });
}

/**
 * Arrows move the cursor (with Shift by one image pixel), Enter or Space acts, Shift+Enter acts negatively. The view
 * follows the cursor. Where it rests is announced.
 * @param {import("./stage.js").Stage} stage
 * @param page the page, with image, cursor, corner, drag, hover and act
 * on: under(point): the instance there, or none; tell(instance): its words; moved, left: what to draw anew
 */
export function listenToCursor(stage, page, on) {
  let telling = 0;
  const move = (cursor) => {
    page.cursor = cursor;
    stage.view = reveal(stage.view, cursor, page.image, stage.size);
    if (page.corner) page.drag(page.corner, cursor, stage.view.scale);
    const instance = on.under(cursor);
    page.hover(instance?.key ?? null);
    clearTimeout(telling);
    telling = setTimeout(() => announce(`x ${Math.round(cursor.x)}, y ${Math.round(cursor.y)}: ${on.tell(instance)}`), REST_MS);
    on.moved();
  };
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  stage.canvas.addEventListener("keydown", (event) => {
    const { image } = stage.scene;
    if (!image || event.ctrlKey || event.metaKey || event.altKey) return;
    const cursor = stage.scene.cursor ?? { x: image.width / 2, y: image.height / 2 };
    const direction = moves[event.key];
    if (direction) {
      const step = event.shiftKey ? 1 : STEP / stage.view.scale;
      // Without waiting for a frame: keys may come faster.
      stage.scene.cursor = {
        x: Math.min(Math.max(cursor.x + direction[0] * step, 0.5), image.width - 0.5),
        y: Math.min(Math.max(cursor.y + direction[1] * step, 0.5), image.height - 0.5),
      };
      move(stage.scene.cursor);
    } else if (event.key === "Enter" || event.key === " ") {
      clearTimeout(telling); // the result is announced, not this
      page.act(cursor, { negative: event.shiftKey }, stage.view.scale);
    } else {
      return;
    }
    event.preventDefault();
  });
  stage.canvas.addEventListener("focus", () => {
    const { image } = stage.scene;
    if (image && stage.canvas.matches(":focus-visible")) move(stage.scene.cursor ?? { x: image.width / 2, y: image.height / 2 });
  });
  stage.canvas.addEventListener("blur", () => {
    page.cursor = null;
    on.left();
  });
}

/** Left and right (or up and down) move the focus inside a toolbar, which is one stop of the Tab key. */
export function roam(toolbar) {
  const buttons = () => [...toolbar.querySelectorAll("button:not([disabled])")];
  const settle = (current) => {
    for (const button of toolbar.querySelectorAll("button")) button.tabIndex = button === current ? 0 : -1;
  };
  toolbar.addEventListener("focusin", (event) => settle(event.target));
  toolbar.addEventListener("keydown", (event) => {
    const all = buttons();
    const at = all.indexOf(document.activeElement);
    const to = {
      ArrowDown: at + 1, ArrowRight: at + 1, ArrowUp: at - 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1,
    }[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    all[(to + all.length) % all.length].focus();
  });
  settle(buttons()[0]);
}

export function isTyping(target) {
  return target instanceof HTMLElement && target.matches("input:not([type=range], [type=checkbox]), textarea, select");
}
