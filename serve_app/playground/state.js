/**
 * The prompts on one image, as an immutable value: each function returns a new state, and undo returns to an old
 * one.
 *
 * Coordinates are pixels of the upright image.
 *
 * @typedef {{x0: number, y0: number, x1: number, y1: number}} Box corners, x0 < x1, y0 < y1
 * @typedef {{x: number, y: number, positive: boolean}} Point
 * @typedef {{box: Box, like: boolean}} Example
 * @typedef {{kind: "concept", id: number, colour: number, hidden: boolean, text: string, examples: Example[],
 *   threshold: number}} Concept every instance of what a text names and examples show
 * @typedef {{kind: "object", id: number, colour: number, hidden: boolean, number: number, points: Point[],
 *   box: Box | null}} Pointed one object, shown by clicks and a box
 * @typedef {Concept | Pointed} Prompt
 * @typedef {{prompts: Prompt[], active: number | null, hidden: string[], removed: string[], next: number}} State
 *   active: the prompt that clicks and examples go to. hidden, removed: keys of instances.
 */

export const MOST_CONCEPTS = 16;
export const DEFAULT_THRESHOLD = 0.5;

/** @type {State} */
export const EMPTY = Object.freeze({ prompts: [], active: null, hidden: [], removed: [], next: 1 });

/** @param {State} state @param {number | null} id @returns {Prompt | null} */
export function promptOf(state, id) {
  return state.prompts.find((prompt) => prompt.id === id) ?? null;
}

/** Add a concept by its text; an existing one becomes active. @param {State} state */
export function addConcept(state, text) {
  const same = state.prompts.find((prompt) => prompt.kind === "concept" && prompt.text === text);
  return same ? activate(state, same.id) : added(state, concept(text, []));
}

/** Add a click to the active object, or to a new one. @param {State} state @param {Point} point */
export function addPoint(state, point) {
  const active = promptOf(state, state.active);
  if (active?.kind === "object") return change(state, active.id, { points: [...active.points, point] });
  return added(state, pointed(state, [point], null));
}

/** Add an object by a box around it. @param {State} state @param {Box} box */
export function addBox(state, box) {
  return added(state, pointed(state, [], box));
}

/** Add an example box to the active concept, or to a new one without text. @param {State} state @param {Box} box */
export function addExample(state, box, like) {
  const active = promptOf(state, state.active);
  if (active?.kind === "concept") return change(state, active.id, { examples: [...active.examples, { box, like }] });
  return added(state, concept("", [{ box, like }]));
}

/** Remove one mark, and its prompt if that was the last one. @param {State} state */
export function removeMark(state, { id, part, index }) {
  const prompt = promptOf(state, id);
  if (!prompt) return state;
  const left = part === "box" ? { box: null } : { [part]: prompt[part].filter((_, at) => at !== index) };
  const rest = { ...prompt, ...left };
  const holds = rest.kind === "concept" ? rest.text || rest.examples.length : rest.points.length || rest.box;
  return holds ? change(state, id, left) : removePrompt(state, id);
}

/** @param {State} state @param {number} id */
export function removePrompt(state, id) {
  const prompts = state.prompts.filter((prompt) => prompt.id !== id);
  return { ...state, prompts, active: state.active === id ? null : state.active };
}

/** @param {State} state @param {number} id */
export function change(state, id, patch) {
  return { ...state, prompts: state.prompts.map((prompt) => (prompt.id === id ? { ...prompt, ...patch } : prompt)) };
}

/** @param {State} state @param {number | null} id @returns {State} */
export function activate(state, id) {
  return { ...state, active: id };
}

/** Show a hidden instance, hide a shown one. @param {State} state @param {string} key */
export function toggleInstance(state, key) {
  const hidden = state.hidden.includes(key) ? state.hidden.filter((one) => one !== key) : [...state.hidden, key];
  return { ...state, hidden };
}

/** Delete an instance; for a pointed object, delete the object. @param {State} state */
export function removeInstance(state, { key, prompt }) {
  return prompt.kind === "object" ? removePrompt(state, prompt.id) : { ...state, removed: [...state.removed, key] };
}

/** The state for the next image: concepts with a text, without the boxes of this image. @param {State} state */
export function forNextImage(state) {
  const prompts = state.prompts.flatMap((prompt) =>
    prompt.kind === "concept" && prompt.text ? [{ ...prompt, examples: [] }] : [],
  );
  const active = prompts.some((prompt) => prompt.id === state.active) ? state.active : null;
  return { ...EMPTY, prompts, active, next: state.next };
}

function concept(text, examples) {
  return { kind: "concept", text, examples, threshold: DEFAULT_THRESHOLD };
}

function pointed(state, points, box) {
  const taken = state.prompts.map((prompt) => (prompt.kind === "object" ? prompt.number : 0));
  return { kind: "object", number: Math.max(0, ...taken) + 1, points, box };
}

function added(state, prompt) {
  const colour = freeColour(state);
  const whole = { ...prompt, id: state.next, colour, hidden: false };
  return { ...state, prompts: [...state.prompts, whole], active: state.next, next: state.next + 1 };
}

/** The least used colour. */
function freeColour(state) {
  const used = COLOURS.map((_, index) => state.prompts.filter((prompt) => prompt.colour === index).length);
  return used.indexOf(Math.min(...used));
}

/** Distinct on photographs; neighbours differ much in hue. Outlines have a dark edge, so light ones are visible on white. */
export const COLOURS = [
  "#22c3ee", "#f15bd0", "#ffb224", "#8fd14f", "#9b7bff", "#ff7355", "#1ccfa8", "#5a8dff", "#e6d62a", "#ff6b9a",
];
