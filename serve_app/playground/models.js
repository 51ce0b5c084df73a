/** The choice of a model, where the server has several: each answer is that of the chosen one. */

import { preference, setPreference } from "./preferences.js";

let chosen = "";

/** The `model_id` of requests; "" for the server's default. */
export function chosenModel() {
  return chosen;
}

/**
 * Fill the chooser from the server's list, and choose as the last time. select: a select element, in a label that is
 * shown. changed(): called when the user chooses another model.
 * @param {{name: string, default: boolean, state: string}[]} models
 */
export function chooseFrom(models, select, changed) {
  const before = chosen;
  const last = preference("model", "");
  chosen = models.some(({ name, default: isDefault }) => name === last && !isDefault) ? last : "";
  select.replaceChildren(...models.map(optionOf));
  select.value = chosen || models.find((one) => one.default).name;
  select.onchange = () => {
    chosen = models.find((one) => one.name === select.value)?.default ? "" : select.value;
    setPreference("model", chosen);
    changed();
  };
  if (chosen !== before) changed();
}

function optionOf({ name, state }) {
  const option = document.createElement("option");
  option.value = name;
  option.textContent = state === "asleep" ? `${name} (asleep: its first answer takes longer)` : name;
  return option;
}
