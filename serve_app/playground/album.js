/** The row of opened images, one of which is shown. The browser keeps it (store.js), so a reload brings it back. */

/**
 * @typedef {{digest: string, name: string, file: Blob | null, url: string | null, sample: string | null}} Entry
 *   digest: of the file, or of the link. file: the image file; url: a link to it instead.
 */

/** More than this many images are more than a browser's storage and a person's eye can hold. */
export const MOST_IMAGES = 200;

export class Album {
  /** @type {Entry[]} */
  entries = [];
  /** @type {Entry | null} */
  current = null;

  /** @param {import("./store.js").Store} store */
  constructor(store) {
    this.store = store;
  }

  /** The row as the browser kept it. */
  async restore() {
    const row = await this.store.row();
    const entries = [];
    for (const entry of row?.entries ?? []) {
      const file = entry.url ? null : await this.store.file(entry.digest);
      if (entry.url || file) entries.push({ ...entry, file: file ?? null });
    }
    this.entries = entries;
    return this.entries.find(({ digest }) => digest === row?.current) ?? this.entries[0] ?? null;
  }

  /** Add an image at the end, unless it is there already. @param {Entry} entry @returns {Entry} the one that is there */
  add(entry) {
    const known = this.entries.find(({ digest }) => digest === entry.digest);
    if (known) return known;
    this.entries = [...this.entries, entry];
    if (entry.file) this.store.keepFile(entry.digest, entry.file);
    this.#keep();
    return entry;
  }

  /** Take an image out; its work stays kept under its digest. @returns {Entry | null} its neighbour */
  remove(entry) {
    const at = this.entries.indexOf(entry);
    this.entries = this.entries.filter((one) => one !== entry);
    this.store.dropFile(entry.digest);
    if (this.current === entry) this.current = null;
    this.#keep();
    return this.entries[Math.min(at, this.entries.length - 1)] ?? null;
  }

  /** @param {Entry | null} entry */
  show(entry) {
    this.current = entry;
    this.#keep();
  }

  /** The image so many places after another; null where the row ends. */
  neighbour(entry, step) {
    return this.entries[this.entries.indexOf(entry) + step] ?? null;
  }

  get position() {
    return this.entries.indexOf(this.current);
  }

  #keep() {
    const entries = this.entries.map(({ digest, name, url, sample }) => ({ digest, name, url, sample }));
    this.store.keepRow({ entries, current: this.current?.digest ?? null });
  }
}
