/** The instances to show, list and export: the answers' instances, without deleted ones and ones below a threshold. */

import { Mask } from "./mask.js";
import { meant, withoutDuplicates } from "./overlap.js";

/**
 * @typedef {{key: string, prompt: import("./state.js").Prompt, label: string, category: string, score: number,
 *   area: number, mask: import("./mask.js").Mask, hidden: boolean}} Instance
 */

/**
 * @param {import("./state.js").State} state
 * @param {(prompt) => any} answerTo
 * @param {boolean} distinct whether instances of concepts that cover surer ones are left out
 * @returns {Instance[]}
 */
export function instancesOf(state, answerTo, distinct = false) {
  const all = state.prompts.flatMap((prompt) => {
    const answer = answerTo(prompt);
    if (!answer) return [];
    const lowest = prompt.kind === "concept" ? prompt.threshold : 0;
    const category = categoryOf(prompt);
    const found = answer.instances.map((instance, index) => ({ ...instance, index }));
    const removed = meant(found, masksOf(state.removed, prompt));
    const hidden = meant(found, masksOf(state.hidden, prompt));
    return found.flatMap((instance) => {
      const { score, mask, index } = instance;
      if (score < lowest || mask.area === 0 || removed.has(instance)) return [];
      const key = `${answer.serial}.${index}`;
      const label = prompt.kind === "concept" ? `${nameOf(prompt)} ${index + 1}` : nameOf(prompt);
      return [{ key, prompt, label, category, score, mask, area: mask.area, hidden: prompt.hidden || hidden.has(instance) }];
    });
  });
  if (!distinct) return all;
  const shown = all.filter(({ prompt, hidden }) => prompt.kind === "concept" && !hidden);
  const kept = withoutDuplicates(shown);
  return all.filter((instance) => kept.has(instance) || !shown.includes(instance));
}

/** Number of instances of a concept that are less sure than its threshold. */
export function countBelow(prompt, answer) {
  if (prompt.kind !== "concept" || !answer) return 0;
  return answer.instances.filter(({ score, mask }) => score < prompt.threshold && mask.area > 0).length;
}

/** The topmost of the shown instances at a point: the smallest one. */
export function instanceAt(instances, x, y) {
  const under = instances.filter((instance) => !instance.hidden && instance.mask.contains(x, y));
  return under.reduce((best, one) => (best && best.area <= one.area ? best : one), null);
}

/** True if a mark of the state means this instance. @param {import("./state.js").Mark} mark */
export function means(mark, { prompt, mask }) {
  return mark.prompt === prompt.id && meant([{ mask }], [maskOf(mark.rle)]).size > 0;
}

export function nameOf(prompt) {
  if (prompt.kind === "object") return `Object ${prompt.number}`;
  return prompt.text || "Like the example";
}

/** The class to export a prompt's instances as. */
export function categoryOf(prompt) {
  return prompt.text || prompt.name || (prompt.kind === "object" ? "object" : "like the example");
}

const masks = new WeakMap();

function maskOf(rle) {
  if (!masks.has(rle)) masks.set(rle, new Mask(rle));
  return masks.get(rle);
}

function masksOf(marks, prompt) {
  return marks.filter((mark) => mark.prompt === prompt.id).map(({ rle }) => maskOf(rle));
}
