/**
 * Sessions of videos on the server, of files and of pictures that are sent one by one. Both have
 *
 *   ask(frame, prompts, texts, signal)   prompts about a frame: the one that was answered last, or the one after it; of
 *                                        a new session any
 *   follow(from, to, signal)             the answers of frames, one after the other; to: null means to the end
 *   end()                                deletes the session, also while the page is being left
 *   at                                   the frame that was answered last; -1 before the first one
 *
 * Frames have the page's numbers. Answers are the API's.
 */

import { ApiError } from "./client.js";

const ROUTE = "/sam3/video/sessions";

class Session {
  at = -1;

  constructor(client, id) {
    this.client = client;
    this.route = `${ROUTE}/${id}`;
  }

  end() {
    return this.client.leave(this.route);
  }
}

export class FileSession extends Session {
  /** Begin a session with a file. every: as in the API. facts: what the server says of the file. */
  static async begin(client, file, every, signal) {
    const form = new FormData();
    form.set("video", file, "video");
    form.set("request", JSON.stringify({ every }));
    const { session_id: id, video } = await client.call(ROUTE, { body: form }, signal);
    return Object.assign(new FileSession(client, id), { facts: video });
  }

  async ask(frame, prompts, texts, signal) {
    const answer = await this.client.send(`${this.route}/prompts`, { frame, prompts, texts }, signal);
    this.at = frame;
    return answer;
  }

  async *follow(from, to, signal) {
    const query = `from=${from}${to === null ? "" : `&to=${to}`}`;
    for await (const line of this.client.lines(`${this.route}/propagate?${query}`, signal)) {
      if (line.error) throw new ApiError(line.error.status, line.error.message);
      if (line.done) return line.done;
      this.at = line.frame;
      yield line;
    }
    throw new ApiError(0, "The server's answer was cut off.");
  }
}

export class PicturesSession extends Session {
  #first = null;

  /** Begin a session of pictures. pictureOf(frame): the file of a frame; count: their number. */
  static async begin(client, { fileOf, count }, every, signal) {
    const { session_id: id } = await client.send(ROUTE, { every }, signal);
    return Object.assign(new PicturesSession(client, id), { fileOf, count });
  }

  async ask(frame, prompts, texts, signal) {
    if (frame !== this.at) return this.#picture(frame, { prompts, texts }, signal);
    return this.client.send(`${this.route}/prompts`, { frame: frame - this.#first, prompts, texts }, signal);
  }

  async *follow(from, to, signal) {
    const last = to ?? this.count - 1;
    for (let frame = from; frame <= last; frame++) yield await this.#picture(frame, {}, signal);
    return { next_frame: last + 1 };
  }

  /** The session's first frame is the first one that it gets. */
  async #picture(frame, asked, signal) {
    const first = this.#first ?? frame;
    const form = new FormData();
    form.set("image", this.fileOf(frame), "image");
    form.set("request", JSON.stringify({ frame: frame - first, ...asked }));
    const { frames } = await this.client.call(`${this.route}/frames`, { body: form }, signal);
    this.#first = first;
    this.at = frame;
    return { ...frames[0], frame };
  }
}
