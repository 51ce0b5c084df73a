/**
 * The work on a video, as an immutable value: each function returns a new state, and undo returns to an old one.
 *
 * An object keeps its id whatever session of the server follows it. Coordinates are pixels of the upright frame.
 *
 * @typedef {{id: number, colour: number, text: string, hidden: boolean, removed: boolean}} Tracked
 *   text: the concept that found it; "" for an object that was shown by clicks or a box. removed: its masks are kept,
 *   so that a text which finds it again does not bring it back.
 * @typedef {{points: import("./state.js").Point[], box: import("./state.js").Box | null}} Shown
 * @typedef {{id: number, score: number, mask: import("./mask.js").Mask}} Found
 * @typedef {{width: number, height: number, objects: Found[]}} Answer objects: those that are seen in the frame
 * @typedef {{objects: Tracked[], prompts: Map<number, Map<number, Shown>>, texts: {text: string, frame: number}[],
 *   frames: Map<number, Answer>, active: number | null, next: number}} VideoState
 *   prompts: by frame and object. texts: with the frame from which on each is looked for. frames: the answers, by
 *   frame. active: the object that clicks go to.
 */

import { keyOf } from "./classes.js";
import { COLOURS } from "./state.js";

/** The server's bound for one session. */
export const MOST_TEXTS = 16;

/** @type {VideoState} */
export const NOTHING = Object.freeze({
  objects: [], prompts: new Map(), texts: [], frames: new Map(), active: null, next: 1,
});

/** @param {VideoState} state @returns {Tracked | null} */
export function objectOf(state, id) {
  return state.objects.find((one) => one.id === id && !one.removed) ?? null;
}

/** "Object 2", "red circle 1": the number is the id, which is the same in all frames and files. */
export function nameOf({ id, text }) {
  return `${text || "Object"} ${id}`;
}

/** Add an object without any mask; it becomes active unless a text found it. @param {VideoState} state */
export function addObject(state, text = "") {
  const made = { id: state.next, colour: (state.next - 1) % COLOURS.length, text, hidden: false, removed: false };
  return { ...state, objects: [...state.objects, made], next: state.next + 1, active: text ? state.active : made.id };
}

/** @param {VideoState} state @param {number} frame */
export function shownIn(state, frame, id) {
  return state.prompts.get(frame)?.get(id) ?? { points: [], box: null };
}

/** Show more of an object in a frame: what was answered about later frames does not hold any more. */
export function show(state, frame, id, patch) {
  const inFrame = new Map(state.prompts.get(frame)).set(id, { ...shownIn(state, frame, id), ...patch });
  return { ...upTo(state, frame), prompts: new Map(state.prompts).set(frame, inFrame), active: id };
}

/** Look for a text from a frame on. @param {VideoState} state */
export function addText(state, frame, text) {
  return { ...upTo(state, frame), texts: [...state.texts, { text, frame }] };
}

/** @param {VideoState} state */
export function textOf(state, text) {
  return state.texts.find((one) => keyOf(one.text) === keyOf(text));
}

/** Look for a text no longer, and remove what it found. @param {VideoState} state */
export function removeText(state, text) {
  const own = state.objects.filter((one) => one.text === text).map(({ id }) => id);
  return { ...own.reduce(removeObject, state), texts: state.texts.filter((one) => one.text !== text) };
}

/** @param {VideoState} state @param {number} id */
export function removeObject(state, id) {
  const prompts = new Map();
  for (const [frame, shown] of state.prompts) {
    const others = new Map([...shown].filter(([one]) => one !== id));
    if (others.size) prompts.set(frame, others);
  }
  return { ...change(state, id, { removed: true }), prompts, active: state.active === id ? null : state.active };
}

/** @param {VideoState} state @param {number} id */
export function change(state, id, patch) {
  return { ...state, objects: state.objects.map((one) => (one.id === id ? { ...one, ...patch } : one)) };
}

/** @param {VideoState} state @param {number | null} id @returns {VideoState} */
export function activate(state, id) {
  return { ...state, active: id };
}

/** Without the answers about frames after this one. @param {VideoState} state */
export function upTo(state, frame) {
  const frames = new Map([...state.frames].filter(([number]) => number <= frame));
  return frames.size === state.frames.size ? state : { ...state, frames };
}

/** Put a frame's answer in. @param {VideoState} state @param {Answer} answer */
export function answered(state, frame, answer) {
  return { ...state, frames: new Map(state.frames).set(frame, answer) };
}

/** Everything that is found in a frame and not removed, hidden or not, in the form that the stage draws. */
export function instancesIn(state, frame) {
  return (state.frames.get(frame)?.objects ?? []).flatMap(({ id, score, mask }) => {
    const prompt = objectOf(state, id);
    if (!prompt || mask.area === 0) return [];
    const category = prompt.text || "object";
    return [{ key: id, track: id, prompt, label: nameOf(prompt), category, score, mask, area: mask.area, hidden: prompt.hidden }];
  });
}

/** The clicks and boxes in a frame, in the form that the stage draws. */
export function marksIn(state, frame) {
  return [...(state.prompts.get(frame) ?? [])].flatMap(([id, shown]) => {
    const object = objectOf(state, id);
    return object ? [{ ...object, kind: "object", ...shown }] : [];
  });
}

/** The frames in which something was asked, in order. @param {VideoState} state @returns {number[]} */
export function promptedFrames(state) {
  return [...new Set([...state.prompts.keys(), ...state.texts.map(({ frame }) => frame)])].sort((one, other) => one - other);
}
