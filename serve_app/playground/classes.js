/**
 * The classes of exported files: a list of names, in which a name's place is its category id. The browser keeps the
 * list, so a name has the same id in the files of all images. Annotators who share a list get files that can be merged.
 */

import { preference, setPreference } from "./preferences.js";

/** @returns {string[]} */
export function classes() {
  return preference("classes", []);
}

/** Replace the list: the first name gets id 1. Names that are written twice are one. @param {string[]} names */
export function setClasses(names) {
  setPreference("classes", once(names));
}

/** The list with these names at its end, where they are new, as `idsOf` would make it. @returns {string[]} */
export function classesWith(names) {
  return once([...classes(), ...names]);
}

/** Each name once, as it is written first. */
function once(names) {
  const seen = new Map();
  for (const name of names.map(tidy).filter(Boolean)) if (!seen.has(keyOf(name))) seen.set(keyOf(name), name);
  return [...seen.values()];
}

/** The ids of these names, which are added to the list where they are new. @returns {Map<string, number>} by `keyOf` */
export function idsOf(names) {
  setClasses(classesWith(names));
  return new Map(classes().map((name, index) => [keyOf(name), index + 1]));
}

/** Equal for names that are one class: `star` and ` Star `. */
export function keyOf(name) {
  return tidy(name).toLowerCase();
}

export function tidy(name) {
  return name.trim().replace(/\s+/g, " ");
}
