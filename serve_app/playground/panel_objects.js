/** The lists of a video's concepts and objects. */

import { element, iconButton, keyed, relabel, setText } from "./dom.js";
import { COLOURS } from "./state.js";
import { nameOf } from "./video_state.js";

/** on: remove(text). */
export function textsPanel(list, on) {
  const create = ({ text }) => element("li", { class: "video-text" }, text, iconButton("close", `Remove ${text}`, () => on.remove(text)));
  return (texts) => keyed(list, texts, ({ text }) => text, create, () => {});
}

/** on: hover(id | null), select(id), hide(id), remove(id). */
export function objectsPanel(list, on) {
  const create = ({ object: { id } }) =>
    element("li", { class: "object", pointerenter: () => on.hover(id), pointerleave: () => on.hover(null) },
      element("button", { type: "button", class: "instance-name", click: () => on.select(id), focus: () => on.hover(id), blur: () => on.hover(null) },
        element("span", { class: "swatch", "aria-hidden": "true" }),
        element("span", { class: "instance-label" }),
        element("span", { class: "state" })),
      iconButton("eye", "Hide", () => on.hide(id)),
      iconButton("trash", "Remove", () => on.remove(id)));
  /** rows: {object, score: of its mask in the frame that is shown; null without one, active, highlighted}[] */
  return (rows) => keyed(list, rows, ({ object }) => object.id, create, update);
}

function update(row, { object, score, active, highlighted }) {
  const name = nameOf(object);
  const [hide, remove] = row.querySelectorAll(".icon-button");
  const state = score === null ? "not here" : score.toFixed(2);
  row.style.setProperty("--colour", COLOURS[object.colour]);
  row.classList.toggle("hidden", object.hidden);
  row.classList.toggle("active", active);
  row.classList.toggle("highlighted", highlighted);
  setText(row.querySelector(".instance-label"), name);
  setText(row.querySelector(".state"), state);
  const button = row.querySelector(".instance-name");
  button.setAttribute("aria-pressed", String(active));
  const told = score === null ? "not seen in this frame" : `confidence ${state}`;
  button.setAttribute("aria-label", `${name}, ${told}${object.hidden ? ", hidden" : ""}`);
  relabel(hide, object.hidden ? "eye-off" : "eye", `${object.hidden ? "Show" : "Hide"} ${name}`);
  relabel(remove, "trash", `Remove ${name}`);
}
