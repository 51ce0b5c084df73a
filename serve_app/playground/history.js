/** A value with undo and redo, and listeners that are called when it changes. */

const MOST_STEPS = 200;

export class History {
  #past = [];
  #future = [];
  #value;
  #merging = null;
  #listeners = new Set();

  constructor(value) {
    this.#value = value;
  }

  get value() {
    return this.#value;
  }

  get canUndo() {
    return this.#past.length > 0;
  }

  get canRedo() {
    return this.#future.length > 0;
  }

  /** Make a step. merge: consecutive steps with the same name count as one (a slider that is dragged). */
  push(value, merge = null) {
    if (value === this.#value) return;
    if (merge === null || merge !== this.#merging) this.#past.push(this.#value);
    if (this.#past.length > MOST_STEPS) this.#past.shift();
    this.#merging = merge;
    this.#future = [];
    this.#become(value);
  }

  /** Change the value without a step of its own, such as for a selection. */
  replace(value) {
    if (value !== this.#value) this.#become(value);
  }

  /** All that `restore` needs. */
  snapshot() {
    return { past: [...this.#past], value: this.#value, future: [...this.#future] };
  }

  /** Go on from a snapshot, or from a value that has no past. */
  restore({ past = [], value, future = [] }) {
    this.#past = [...past];
    this.#future = [...future];
    this.#merging = null;
    this.#become(value);
  }

  undo() {
    this.#step(this.#past, this.#future);
  }

  redo() {
    this.#step(this.#future, this.#past);
  }

  subscribe(listener) {
    this.#listeners.add(listener);
  }

  #step(from, to) {
    if (!from.length) return;
    to.push(this.#value);
    this.#merging = null;
    this.#become(from.pop());
  }

  #become(value) {
    this.#value = value;
    for (const listener of this.#listeners) listener(value);
  }
}
