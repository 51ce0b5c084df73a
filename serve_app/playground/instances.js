/** The instances to show, list and export: those of the answers, without deleted ones and those below a threshold. */

/**
 * @typedef {{key: string, prompt: import("./state.js").Prompt, label: string, category: string, score: number,
 *   area: number, box: import("./state.js").Box, mask: import("./mask.js").Mask, hidden: boolean}} Instance
 */

/** @param {import("./state.js").State} state @param {(prompt) => any} answerTo @returns {Instance[]} */
export function instancesOf(state, answerTo) {
  return state.prompts.flatMap((prompt) => {
    const answer = answerTo(prompt);
    if (!answer) return [];
    const lowest = prompt.kind === "concept" ? prompt.threshold : 0;
    const category = categoryOf(prompt);
    return answer.instances.flatMap((found, index) => {
      const key = `${answer.serial}.${index}`;
      if (found.score < lowest || found.area === 0 || state.removed.includes(key)) return [];
      const label = prompt.kind === "concept" ? `${category} ${index + 1}` : nameOf(prompt);
      return [{ ...found, key, prompt, label, category, hidden: prompt.hidden || state.hidden.includes(key) }];
    });
  });
}

/** The topmost of the shown instances at a point: the smallest one. */
export function instanceAt(instances, x, y) {
  const under = instances.filter((instance) => !instance.hidden && instance.mask.contains(x, y));
  return under.reduce((best, one) => (best && best.area <= one.area ? best : one), null);
}

export function nameOf(prompt) {
  if (prompt.kind === "object") return `Object ${prompt.number}`;
  return prompt.text || "Like the example";
}

function categoryOf(prompt) {
  return prompt.kind === "object" ? "object" : prompt.text || "like the example";
}
