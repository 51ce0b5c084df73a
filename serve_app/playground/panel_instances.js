/** The list of instances, to look at, hide and delete. */

import { element, iconButton, keyed, relabel, setText } from "./dom.js";
import { COLOURS } from "./state.js";

/** on: hover(key | null), select(key), hide(key), remove(instance). */
export function instancesPanel(list, on) {
  let current = new Map();
  const create = ({ key }) => {
    const row = element("li", { class: "instance", pointerenter: () => on.hover(key), pointerleave: () => on.hover(null) },
      element("button", { type: "button", class: "instance-name", click: () => on.select(key), focus: () => on.hover(key), blur: () => on.hover(null) },
        element("span", { class: "swatch", "aria-hidden": "true" }),
        element("span", { class: "instance-label" }),
        element("span", { class: "score" }),
        element("span", { class: "area" })),
      iconButton("eye", "Hide", () => on.hide(key)),
      iconButton("trash", "Delete", () => on.remove(current.get(key))));
    return row;
  };
  let shown = null;
  let rows = new Map();
  let marked = null;
  const highlight = (key) => {
    marked?.classList.remove("highlighted");
    marked = rows.get(key) ?? null;
    marked?.classList.add("highlighted");
  };
  /** instances: the same list as before when nothing changed. */
  return (instances, highlighted) => {
    if (instances !== shown) {
      shown = instances;
      current = new Map(instances.map((instance) => [instance.key, instance]));
      rows = new Map();
      keyed(list, instances, ({ key }) => key, create, (row, instance) => {
        rows.set(instance.key, row);
        update(row, instance);
      });
    }
    highlight(highlighted);
  };
}

function update(row, { label, score, area, hidden, prompt }) {
  const [hide, remove] = row.querySelectorAll(".icon-button");
  row.style.setProperty("--colour", COLOURS[prompt.colour]);
  row.classList.toggle("hidden", hidden);
  setText(row.querySelector(".instance-label"), label);
  setText(row.querySelector(".score"), score.toFixed(2));
  setText(row.querySelector(".area"), `${area.toLocaleString("en")} px`);
  row.querySelector(".instance-name").setAttribute(
    "aria-label",
    `${label}, confidence ${score.toFixed(2)}, area ${area.toLocaleString("en")} pixels${hidden ? ", hidden" : ""}`,
  );
  relabel(hide, hidden ? "eye-off" : "eye", `${hidden ? "Show" : "Hide"} ${label}`);
  relabel(remove, "trash", `Delete ${label}`);
}
