/**
 * The actions on the row of images: to open images, show one, step through them, take one out, and to bring back what the
 * browser kept. The last thing that the user asks to see is shown, whatever loads first.
 */

import { MOST_IMAGES } from "./album.js";
import { ApiError } from "./client.js";
import { announce } from "./notice.js";

/** Of the problems with many files, so many are told. */
const MOST_TOLD = 3;

export class Row {
  #busy = 0;
  #asked = 0;
  /** The image that is on its way: keys may come faster than images load. */
  #coming = null;
  #restored = Promise.resolve();

  /**
   * on.changed(): the page must be drawn again. on.shown(isAnother, isNew): an image is on the stage, another one than
   * before; isNew: the user has just opened it. on.empty(): none is left. on.failed(text, again): again() may help, null
   * where nothing does. on.locked(again): the server asks for a key. on.restored(): the kept row is back.
   * @param {import("./album.js").Album} album @param {import("./page.js").Page} page
   */
  constructor(album, page, on) {
    Object.assign(this, { album, page, on });
  }

  /** True while images are read, brought back or collected. */
  get isBusy() {
    return this.#busy > 0;
  }

  async whileBusy(work) {
    this.#busy++;
    this.on.changed();
    try {
      return await work();
    } finally {
      this.#busy--;
      this.on.changed();
    }
  }

  /** Show the image that was shown when the page was left. */
  restore() {
    this.#restored = this.whileBusy(async () => {
      try {
        const last = await this.album.restore();
        if (last) await this.#tryToShow(last);
      } finally {
        this.on.restored();
      }
    });
  }

  /**
   * Put images into the row and show the first one that can be shown. entries: promises; others: how many files were no
   * images.
   */
  async open(entries, others = 0) {
    if (!entries.length) return;
    const asked = ++this.#asked;
    for (const entry of entries) entry.catch(() => {}); // told below, in order
    await this.whileBusy(async () => {
      await this.#restored; // it would show another image, and does not know these
      const taken = entries.slice(0, Math.max(MOST_IMAGES - this.album.entries.length, 1));
      const problems = others ? [`${others} of the files ${others === 1 ? "is no image" : "are no images"}.`] : [];
      if (taken.length < entries.length) problems.push(`The row holds ${MOST_IMAGES} images: ${entries.length - taken.length} were left out.`);
      let [isTried, locked, again] = [false, null, null];
      for (const promised of taken) {
        let entry = null;
        try {
          entry = this.album.add(await promised);
          if (!isTried && asked === this.#asked) await this.#display(entry, true);
          isTried = true;
        } catch (error) {
          if (error.status === 401) {
            [isTried, locked] = [true, entry];
            continue;
          }
          problems.push(error.message);
          if (!this.#leftOut(entry, error)) again ??= () => this.show(entry);
        }
      }
      if (locked) this.on.locked(() => this.show(locked));
      else if (problems.length) this.on.failed(sentences(problems), again);
    });
  }

  /** Show an image of the row, or tell why not. */
  show(entry) {
    this.#asked++;
    return this.#tryToShow(entry);
  }

  async step(by) {
    const entry = this.album.neighbour(this.#coming ?? this.album.current, by);
    if (!entry) return;
    this.#coming = entry;
    await this.show(entry);
    if (this.#coming === entry) this.#coming = null;
  }

  /** Take the shown image out, and show its neighbour. */
  takeOut() {
    if (!this.album.current) return;
    announce(`${this.album.current.name} taken out of the row.`);
    const next = this.album.remove(this.album.current);
    this.page.close();
    return this.#showOr(next);
  }

  #showOr(next) {
    if (next) return this.show(next);
    this.on.empty();
  }

  async #tryToShow(entry) {
    try {
      await this.#display(entry);
    } catch (error) {
      if (error.status === 401) return this.on.locked(() => this.show(entry));
      const isOut = this.#leftOut(entry, error);
      if (isOut && !this.album.current) await this.#showOr(this.album.entries[0]);
      this.on.failed(error.message, isOut ? null : () => this.show(entry));
    }
  }

  async #display(entry, isNew = false) {
    const before = this.page.image;
    try {
      if (!(await this.page.open(entry))) return; // another one is shown by now
      this.album.show(entry);
      this.on.shown(this.page.image !== before, isNew);
    } finally {
      this.on.changed();
    }
  }

  /** Take out an image that can never be shown. Returns false for one that may be shown later. */
  #leftOut(entry, error) {
    if (new ApiError(error.status ?? 400, "").mayPass) return false;
    if (entry && entry !== this.album.current) this.album.remove(entry);
    return true;
  }
}

function sentences(problems) {
  const told = problems.slice(0, MOST_TOLD).map((problem) => problem.replace(/\.?$/, "."));
  const rest = problems.length - told.length;
  return [...told, ...(rest ? [`${rest} more could not be opened.`] : [])].join(" ");
}
