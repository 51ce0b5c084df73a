/** The list of prompts: concepts with their thresholds, objects with their clicks. */

import { element, iconButton, keyed, relabel, setText } from "./dom.js";
import { nameOf } from "./instances.js";
import { LOWEST_THRESHOLD } from "./requests.js";
import { COLOURS } from "./state.js";

/** on: select(id), threshold(id, value), rename(id, name), hide(id), remove(id). */
export function promptsPanel(list, on) {
  /** rows: {prompt, count, asked, error, active}[]; error: why there is no answer */
  return (rows) => keyed(list, rows, ({ prompt }) => prompt.id, (row) => create(row, on), update);
}

function create({ prompt }, on) {
  const name = element("button", { type: "button", class: "prompt-name", click: () => on.select(prompt.id) },
    element("span", { class: "swatch", "aria-hidden": "true" }), element("span", { class: "prompt-text" }));
  const line = element("div", { class: "prompt-line" },
    name,
    element("span", { class: "count" }),
    iconButton("eye", "Hide", () => on.hide(prompt.id)),
    iconButton("close", "Remove", () => on.remove(prompt.id)));
  const row = element("li", { class: "prompt", "data-kind": prompt.kind }, line);
  if (!prompt.text) row.append(classField(prompt, on));
  if (prompt.kind === "concept") {
    const slider = element("input", {
      type: "range", min: LOWEST_THRESHOLD, max: 1, step: 0.01, value: prompt.threshold,
      input: () => on.threshold(prompt.id, Number(slider.value)),
    });
    row.append(element("label", { class: "threshold" }, element("span", {}, "Confidence"), slider, element("output")));
  }
  row.append(element("p", { class: "failure", hidden: true }));
  return row;
}

/** A text field for the class of an object that clicks or examples show without words. */
function classField(prompt, on) {
  const field = element("input", {
    type: "text", class: "class-name", list: "class-names", maxlength: 200, placeholder: "Class, for the exports",
    autocomplete: "off", spellcheck: "false", enterkeyhint: "done",
    change: () => on.rename(prompt.id, field.value),
    keydown: (event) => {
      if (event.key !== "Enter") return;
      on.rename(prompt.id, field.value);
      on.named();
    },
  });
  return field;
}

function update(row, { prompt, count, asked, error, active }) {
  const label = nameOf(prompt);
  const [hide, remove] = row.querySelectorAll(".icon-button");
  row.style.setProperty("--colour", COLOURS[prompt.colour]);
  row.classList.toggle("active", active);
  row.classList.toggle("hidden", prompt.hidden);
  row.classList.toggle("asked", asked);
  row.querySelector(".prompt-name").setAttribute("aria-pressed", String(active));
  setText(row.querySelector(".prompt-text"), label + marksOf(prompt));
  setText(row.querySelector(".count"), asked ? "…" : error ? "!" : String(count));
  const failure = row.querySelector(".failure");
  failure.hidden = !error;
  setText(failure, error ? `No answer. ${error.message}` : "");
  const field = row.querySelector(".class-name");
  if (field) {
    field.setAttribute("aria-label", `Class of ${label}`);
    if (document.activeElement !== field || field.dataset.name !== prompt.name) field.value = prompt.name;
    field.dataset.name = prompt.name;
  }
  relabel(hide, prompt.hidden ? "eye-off" : "eye", `${prompt.hidden ? "Show" : "Hide"} ${label}`);
  relabel(remove, "close", `Remove ${label}`);
  if (prompt.kind === "concept") {
    const slider = row.querySelector("[type=range]");
    if (Number(slider.value) !== prompt.threshold) slider.value = String(prompt.threshold);
    slider.setAttribute("aria-label", `Confidence for ${label}`);
    slider.style.setProperty("--filled", `${((prompt.threshold - LOWEST_THRESHOLD) / (1 - LOWEST_THRESHOLD)) * 100}%`);
    setText(row.querySelector("output"), `≥ ${prompt.threshold.toFixed(2)}`);
  }
}

function marksOf(prompt) {
  const count = (number, word, plural = `${word}s`) => (number ? [`${number} ${number === 1 ? word : plural}`] : []);
  const parts = prompt.kind === "object"
    ? [...count(prompt.box ? 1 : 0, "box"), ...count(prompt.points.length, "click")]
    : [
        ...count(prompt.examples.filter(({ like }) => like).length, "similar", "similar"),
        ...count(prompt.examples.filter(({ like }) => !like).length, "left out", "left out"),
      ];
  return parts.length ? ` · ${parts.join(", ")}` : "";
}
