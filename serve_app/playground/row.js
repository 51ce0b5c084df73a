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
   * where nothing does. on.locked(again, told): the server asks for a key; told: what else went wrong. on.restored(): the kept row is back.
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

  /** Bring the kept row back, and show what was shown when the page was left, unless something else is asked for by then. */
  restore() {
    const asked = this.#asked;
    this.#restored = this.album.restore();
    this.whileBusy(async () => {
      try {
        const last = await this.#restored;
        if (last && asked === this.#asked) await this.#tryToShow(last, asked);
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
      const told = sentences(problems);
      if (locked) this.on.locked(() => this.show(locked), told);
      else if (!isTried && !this.album.current) await this.#tryToShow(this.album.entries[0], asked, problems);
      else if (told) this.on.failed(told, again);
    });
  }

  /** Show an image of the row, or tell why not. */
  async show(entry) {
    this.#coming = entry;
    await this.#tryToShow(entry, ++this.#asked);
    if (this.#coming === entry) this.#coming = null;
  }

  step(by) {
    const entry = this.album.neighbour(this.#coming ?? this.album.current, by);
    if (entry) return this.show(entry);
  }

  /** Take the shown image out, and show its neighbour. */
  takeOut() {
    if (!this.album.current) return;
    announce(`${this.album.current.name} taken out of the row.`);
    const next = this.album.remove(this.album.current);
    this.page.close();
    if (next) return this.show(next);
    this.on.empty();
  }

  /** Show an image; if it never can be, and no other is shown or asked for, the first one that can. */
  async #tryToShow(entry, asked, problems = []) {
    let again = null;
    for (let next = entry; next; ) {
      try {
        await this.#display(next);
        break;
      } catch (error) {
        const failed = next;
        if (error.status === 401) return this.on.locked(() => this.show(failed), sentences(problems));
        problems.push(error.message);
        const isOut = this.#leftOut(failed, error);
        if (!isOut) again = () => this.show(failed);
        next = isOut && !this.album.current && asked === this.#asked ? this.album.entries[0] : null;
      }
    }
    if (!this.album.entries.length) this.on.empty();
    if (problems.length) this.on.failed(sentences(problems), again);
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
