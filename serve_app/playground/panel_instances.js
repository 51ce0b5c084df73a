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
  return (instances, highlighted) => {
    current = new Map(instances.map((instance) => [instance.key, instance]));
    keyed(list, instances, ({ key }) => key, create, (row, instance) => update(row, instance, highlighted));
  };
}

function update(row, { key, label, score, area, hidden, prompt }, highlighted) {
  const [hide, remove] = row.querySelectorAll(".icon-button");
  row.style.setProperty("--colour", COLOURS[prompt.colour]);
  row.classList.toggle("hidden", hidden);
  row.classList.toggle("highlighted", key === highlighted);
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
