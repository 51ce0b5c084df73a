/**
 * The prompts on one image, as an immutable value: each function returns a new state, and undo returns to an old
 * one.
 *
 * Coordinates are pixels of the upright image.
 *
 * @typedef {{x0: number, y0: number, x1: number, y1: number}} Box corners, x0 < x1, y0 < y1
 * @typedef {{x: number, y: number, positive: boolean}} Point
 * @typedef {{box: Box, like: boolean}} Example
 * @typedef {{kind: "concept", id: number, colour: number, hidden: boolean, text: string, name: string,
 *   examples: Example[], threshold: number}} Concept every instance of what a text names and examples show
 * @typedef {{kind: "object", id: number, colour: number, hidden: boolean, number: number, name: string,
 *   points: Point[], box: Box | null}} Pointed one object, shown by clicks and a box
 *   name: the class to export it as, given by the user; "" for none
 * @typedef {Concept | Pointed} Prompt
 * @typedef {{prompt: number, rle: object}} Mark an instance of a prompt, by its mask: answers come and go, and the
 *   instance is known again in the next one by what its mask covers
 * @typedef {{prompts: Prompt[], active: number | null, hidden: Mark[], removed: Mark[], next: number}} State
 *   active: the prompt that clicks and examples go to
 */

import { keyOf, tidy } from "./classes.js";

export const MOST_CONCEPTS = 16;
export const DEFAULT_THRESHOLD = 0.5;

/** @type {State} */
export const EMPTY = Object.freeze({ prompts: [], active: null, hidden: [], removed: [], next: 1 });

/** @param {State} state @param {number | null} id @returns {Prompt | null} */
export function promptOf(state, id) {
  return state.prompts.find((prompt) => prompt.id === id) ?? null;
}

/** The concept with this text, in upper or lower case. @param {State} state */
export function conceptOf(state, text) {
  return state.prompts.find((prompt) => prompt.kind === "concept" && prompt.text && keyOf(prompt.text) === keyOf(text));
}

/** Add a concept by its text; an existing one becomes active. @param {State} state */
export function addConcept(state, text) {
  const same = conceptOf(state, text);
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
  const others = (marks) => marks.filter((mark) => mark.prompt !== id);
  return {
    ...state,
    prompts: state.prompts.filter((prompt) => prompt.id !== id),
    active: state.active === id ? null : state.active,
    hidden: others(state.hidden),
    removed: others(state.removed),
  };
}

/** @param {State} state @param {number} id */
export function change(state, id, patch) {
  return { ...state, prompts: state.prompts.map((prompt) => (prompt.id === id ? { ...prompt, ...patch } : prompt)) };
}

/** @param {State} state @param {number | null} id @returns {State} */
export function activate(state, id) {
  return { ...state, active: id };
}

/** Give a prompt the class to export it as. @param {State} state */
export function rename(state, id, name) {
  return promptOf(state, id)?.name === tidy(name) ? state : change(state, id, { name: tidy(name) });
}

/** Hide an instance. @param {State} state */
export function hideInstance(state, instance) {
  return { ...state, hidden: [...state.hidden, markOf(instance)] };
}

/** Show an instance again: forget the marks that mean it. @param {State} state @param {(mark) => boolean} means */
export function showInstance(state, means) {
  return { ...state, hidden: state.hidden.filter((mark) => !means(mark)) };
}

/** Delete an instance; for a pointed object, delete the object. @param {State} state */
export function removeInstance(state, instance) {
  const { prompt } = instance;
  return prompt.kind === "object" ? removePrompt(state, prompt.id) : { ...state, removed: [...state.removed, markOf(instance)] };
}

function markOf({ prompt, mask }) {
  return { prompt: prompt.id, rle: mask.rle };
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
  return { kind: "concept", text, name: "", examples, threshold: DEFAULT_THRESHOLD };
}

function pointed(state, points, box) {
  const taken = state.prompts.map((prompt) => (prompt.kind === "object" ? prompt.number : 0));
  return { kind: "object", number: Math.max(0, ...taken) + 1, name: "", points, box };
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
