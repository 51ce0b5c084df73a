/**
 * Where the pictures of a video's frames come from, to be looked at:
 *
 *   picture(frame)   {bitmap, width, height, discard?}; null when a later call asks for another one. discard(): frees its
 *                    memory, once it is not shown any more
 *   count, close()
 */

import { load } from "./images.js";

const PICTURES_AHEAD = 12;

/** A video file, shown by the browser's own player: the API gives no pictures of its frames. */
export class Film {
  kind = "film";
  count = 1;
  rate = 25;
  /** False where the browser has no decoder for the file. */
  canShow = false;
  #asked = 0;
  #turn = Promise.resolve();

  /** @param {File} file */
  constructor(file) {
    this.file = file;
    this.name = file.name;
    this.player = Object.assign(document.createElement("video"), { muted: true, preload: "auto", playsInline: true });
    this.loaded = new Promise((resolve) => {
      this.player.addEventListener("loadeddata", () => resolve(this.player.videoWidth > 0), { once: true });
      this.player.addEventListener("error", () => resolve(false), { once: true });
    });
    this.player.src = URL.createObjectURL(file);
  }

  /** Take in what the server says of the file: it counts frames, and the player only knows seconds. */
  async learn({ width, height, frames, frames_per_second: rate, seconds }) {
    this.canShow = await this.loaded;
    Object.assign(this, { width, height });
    this.rate = rate ?? this.rate;
    const length = seconds ?? (this.canShow && Number.isFinite(this.player.duration) ? this.player.duration : 0);
    this.count = Math.max(1, frames ?? Math.round(length * this.rate));
  }

  picture(frame) {
    const asked = ++this.#asked;
    const { width, height } = this;
    if (!this.canShow) return Promise.resolve(null);
    const shown = this.#turn.then(async () => {
      if (asked !== this.#asked) return null; // the player is slower than who asks it
      await this.#seek((frame + 0.5) / this.rate);
      const bitmap = await createImageBitmap(this.player);
      return { bitmap, width, height, discard: () => bitmap.close() };
    });
    this.#turn = shown.catch(() => {});
    return shown;
  }

  /** The middle of a frame's time is in no other frame, whatever way the player rounds. */
  #seek(seconds) {
    const { player } = this;
    const to = Math.min(seconds, Math.max(0, player.duration - 0.001));
    return new Promise((resolve, reject) => {
      player.onseeked = resolve;
      player.onerror = () => reject(new Error("The browser cannot decode this part of the file."));
      player.currentTime = to;
    });
  }

  close() {
    this.#asked++;
    URL.revokeObjectURL(this.player.src);
    this.player.removeAttribute("src");
    this.player.load();
  }
}

/** Images as frames, in the order of the numbers in their names. */
export class Pictures {
  kind = "pictures";
  canShow = true;
  #asked = 0;
  #loaded = new Map();

  /** @param {File[]} files @param {import("./client.js").Client} client */
  constructor(files, client) {
    const { compare } = new Intl.Collator("en", { numeric: true });
    this.files = [...files].sort((one, other) => compare(one.name, other.name));
    this.client = client;
    this.count = files.length;
    this.name = this.files[0].name;
  }

  fileOf = (frame) => this.files[frame];

  async picture(frame) {
    const asked = ++this.#asked;
    const promised = this.#loaded.get(frame) ?? load({ file: this.files[frame], name: this.files[frame].name }, this.client);
    this.#loaded.delete(frame);
    this.#loaded.set(frame, promised);
    if (this.#loaded.size > PICTURES_AHEAD) this.#loaded.delete(this.#loaded.keys().next().value);
    try {
      const picture = await promised;
      return asked === this.#asked ? picture : null;
    } catch (error) {
      this.#loaded.delete(frame);
      throw error;
    }
  }

  close() {
    this.#asked++;
    this.#loaded.clear();
  }
}
