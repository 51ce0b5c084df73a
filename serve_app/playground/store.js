/**
 * The browser's memory: each image's prompts with undo and redo, under the image file's digest, and the files of the
 * row. So a reload, a crash or another image loses nothing.
 *
 * Nothing here fails: where the browser keeps nothing (a private window, a full disk), `onProblem` is called once, and
 * the page works on without.
 */

/** A browser whose storage has not answered for so long keeps nothing. */
const PATIENCE_MS = 10_000;
const LATE = new Error("the browser's storage does not answer");
const NAME = "sam3-playground";
const VERSION = 1;
/** Work on one image, {past, value, future}: states of state.js. */
const WORK = "work";
/** Files of the row: Blobs. */
const FILES = "files";
/** The row itself, under ROW. */
const ROW = "row";

export class Store {
  #database = null;
  #waiting = new Map();
  #writing = 0;
  #told = false;

  /** changed(): called when `busy` may have changed. */
  constructor(onProblem, changed) {
    this.onProblem = onProblem;
    this.changed = changed;
  }

  /** True while something is not written yet. */
  get busy() {
    return this.#writing > 0;
  }

  /** The work on an image: {past, value, future}; undefined when there is none. */
  work(digest) {
    return this.#read(WORK, digest);
  }

  /** Keep the work on an image. Of several calls during one write, the last one counts. */
  keepWork(digest, work) {
    this.#write(WORK, digest, work);
  }

  file(digest) {
    return this.#read(FILES, digest);
  }

  keepFile(digest, file) {
    this.#write(FILES, digest, file);
  }

  dropFile(digest) {
    this.#write(FILES, digest, undefined);
  }

  /** {entries: {digest, name, url, sample}[], current: digest | null}; undefined at the first visit. */
  row() {
    return this.#read(ROW, ROW);
  }

  keepRow(row) {
    this.#write(ROW, ROW, row);
  }

  /** Forget all images and all work. */
  async clear() {
    const database = await this.#open();
    const transaction = database.transaction([WORK, FILES, ROW], "readwrite");
    for (const name of [WORK, FILES, ROW]) transaction.objectStore(name).clear();
    await finished(transaction);
  }

  async #read(store, key) {
    try {
      const database = await this.#open();
      return await inTime(answered(database.transaction(store).objectStore(store).get(key)));
    } catch (error) {
      this.#report(error);
      return undefined;
    }
  }

  /** Write a value, or delete it when it is undefined. */
  async #write(store, key, value) {
    const name = `${store} ${key}`;
    const waits = this.#waiting.has(name);
    this.#waiting.set(name, value);
    if (waits) return;
    this.#writing++;
    try {
      const database = await this.#open();
      const last = this.#waiting.get(name);
      this.#waiting.delete(name);
      const transaction = database.transaction(store, "readwrite");
      if (last === undefined) transaction.objectStore(store).delete(key);
      else transaction.objectStore(store).put(last, key);
      // Without it, the browser waits for the page once more, and a page that is left at this moment loses the write.
      transaction.commit();
      await finished(transaction);
    } catch (error) {
      this.#waiting.delete(name);
      this.#report(error);
    }
    this.#writing--;
    this.changed();
  }

  #open() {
    this.#database ??= inTime(opened());
    return this.#database;
  }

  #report(error) {
    if (error === LATE) {
      this.#database = Promise.reject(LATE); // nothing waits for it again
      this.#database.catch(() => {});
    }
    if (this.#told) return;
    this.#told = true;
    this.onProblem(error);
  }
}

function opened() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, VERSION);
    request.onupgradeneeded = () => {
      for (const store of [WORK, FILES, ROW]) request.result.createObjectStore(store);
    };
    request.onsuccess = () => {
      // Another tab may bring a newer version of the page.
      request.result.onversionchange = () => request.result.close();
      resolve(request.result);
    };
    request.onerror = () => reject(request.error);
  });
}

async function inTime(promise) {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(reject, PATIENCE_MS, LATE)));
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

function answered(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function finished(transaction) {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = resolve;
    transaction.onabort = () => reject(transaction.error);
    transaction.onerror = () => reject(transaction.error);
  });
}
