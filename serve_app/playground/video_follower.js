/**
 * Keeps a session of the server in step with the work on a video.
 *
 * A session takes prompts for the frame that it answered last and for the next one. For any other frame a new session
 * begins there: clicked objects go on by the boxes of their masks, those of texts are found again and known by their
 * masks. Objects keep the page's ids. So the work needs no session, and outlives each.
 */

import { Mask } from "./mask.js";
import { overlap, SAME } from "./overlap.js";
import { wirePrompt } from "./requests.js";
import * as Video from "./video_state.js";

/** The session can not do this now, or is gone: another one can. */
const ANOTHER_SESSION = [404, 409];

export class Follower {
  #session = null;
  /** The page's ids by the session's. */
  #ids = new Map();

  /**
   * @param {import("./history.js").History} work of which the value is a VideoState
   * @param {(signal: AbortSignal) => Promise<any>} begin begins a session
   * on.answered(frame): called for each frame that was answered.
   */
  constructor(work, begin, on) {
    this.work = work;
    this.begin = begin;
    this.on = on;
  }

  /** Go on with a session that has just begun. */
  take(session) {
    this.#session = session;
    this.#ids.clear();
  }

  /** Let the session go: the work is as it was, and the next request begins another one. */
  async drop() {
    const session = this.#session;
    this.#session = null;
    this.#ids.clear();
    await session?.end();
  }

  /** Ask about a frame. only: {object} or {text}, what is new in it. @param {AbortSignal} signal */
  async ask(frame, only, signal) {
    await this.#withAnother(async () => {
      const isThere = await this.#reach(frame, signal);
      await this.#prompt(frame, isThere ? only : null, signal);
    });
  }

  /** Follow everything from a frame, after which nothing is answered, to the end. Resolves to the session's last words. @param {AbortSignal} signal */
  follow(from, signal) {
    return this.#withAnother(async () => {
      const newest = Math.max(from, ...this.work.value.frames.keys());
      if (!(await this.#reach(newest, signal))) await this.#advance(newest, signal);
      return this.#advance(null, signal);
    });
  }

  /** Follow an object no longer. One that a text found is only not shown: the text would find it again. */
  async remove(id, signal) {
    const own = [...this.#ids].find(([, page]) => page === id);
    if (!own || this.work.value.objects.find((one) => one.id === id).text || !this.#session || this.#session.at < 0) return;
    this.#ids.set(own[0], null);
    await this.#session.ask(this.#session.at, [{ object_id: own[0], remove: true }], [], signal);
  }

  async #withAnother(run) {
    const had = this.#session !== null;
    try {
      return await run();
    } catch (error) {
      if (!had || !ANOTHER_SESSION.includes(error.status)) throw error;
      await this.drop();
      return run();
    }
  }

  /**
   * Bring the session to a frame, by another one if need be. Returns true when it has answered the frame; false when
   * the frame is its next or first one.
   */
  async #reach(frame, signal) {
    const session = this.#session;
    if (session?.at === frame) return true;
    if (session && session.at >= 0 && session.at === frame - 1) return false;
    const { frames } = this.work.value;
    const from = Math.max(-1, ...[...frames.keys()].filter((one) => one <= frame));
    if (!session || session.at !== from) await this.#restart(from, signal);
    if (this.#session.at >= 0) await this.#advance(frame - 1, signal);
    return this.#session.at === frame;
  }

  /** A new session that goes on from the answer about a frame; -1: from nothing. */
  async #restart(frame, signal) {
    if (this.#session?.at === -1 && frame === -1) return;
    await this.drop(); // first: the server keeps only so many, and so many bytes
    this.#session = await this.begin(signal);
    const state = this.work.value;
    const known = (state.frames.get(frame)?.objects ?? []).filter(({ mask }) => mask.area);
    const clicked = known.filter(({ id }) => Video.objectOf(state, id)?.text === "");
    const ofTexts = known.filter(({ id }) => state.objects.find((one) => one.id === id).text);
    const texts = state.texts.filter((one) => one.frame <= frame);
    if (!clicked.length && !texts.length) return;
    const answer = await this.#session.ask(frame, clicked.map(boxed), texts.map(wireText), signal);
    this.#name(answer, clicked.map(({ id }) => id), ofTexts);
    this.#put(frame, answer);
    const named = new Set(this.#ids.values());
    const lost = ofTexts.filter(({ id }) => !named.has(id) && Video.objectOf(state, id));
    if (!lost.length) return;
    const rest = await this.#session.ask(frame, lost.map(boxed), [], signal);
    this.#name(rest, lost.map(({ id }) => id));
    this.#put(frame, rest);
  }

  /** Send what was asked about a frame. only: of this object or text; null: everything. */
  async #prompt(frame, only, signal) {
    const { work } = this;
    const sessionOf = new Map([...this.#ids].map(([own, page]) => [page, own]));
    const shown = [...(work.value.prompts.get(frame) ?? [])].filter(([id]) => !only || id === only.object);
    const texts = work.value.texts.filter((one) => one.frame === frame && (!only || one.text === only.text));
    const begun = shown.filter(([id]) => !sessionOf.has(id));
    const corrected = shown.filter(([id]) => sessionOf.has(id));
    const prompts = [
      ...begun.map(([, one]) => wireShown(one)),
      ...corrected.map(([id, one]) => ({ ...wireShown(one), object_id: sessionOf.get(id) })),
    ];
    const answer = await this.#session.ask(frame, prompts, texts.map(wireText), signal);
    this.#name(answer, begun.map(([id]) => id));
    this.#put(frame, answer);
  }

  /** Go on to a frame, null: to the end, with what was asked about the frames on the way. */
  async #advance(to, signal) {
    for (;;) {
      const { at } = this.#session;
      if (to !== null && at >= to) return null;
      const stop = Video.promptedFrames(this.work.value).find((frame) => frame > at && frame <= (to ?? Infinity));
      if (stop !== undefined && (at === -1 || stop === at + 1)) {
        await this.#prompt(stop, null, signal);
        continue;
      }
      const done = await this.#stream(at + 1, stop === undefined ? to : stop - 1, signal);
      if (stop === undefined) return done;
    }
  }

  async #stream(from, to, signal) {
    const answers = this.#session.follow(from, to, signal);
    for (;;) {
      const { done, value } = await answers.next();
      if (done) return value;
      this.#name(value, []);
      this.#put(value.frame, value);
    }
  }

  /**
   * Give the session's new objects the page's ids. asked: the ids of those that were begun, in the order of their prompts,
   * in which the session numbers them. known: objects that texts found in this frame, in an earlier session.
   */
  #name({ objects, hidden }, asked, known = []) {
    const fresh = [...objects.map(({ id }) => id), ...hidden].filter((id) => !this.#ids.has(id)).sort((one, other) => one - other);
    const free = new Set(known);
    for (const [index, own] of fresh.entries()) {
      if (index < asked.length) {
        this.#ids.set(own, asked[index]);
        continue;
      }
      const found = objects.find(({ id }) => id === own);
      const same = found && bestOf(new Mask(found.masks), free);
      free.delete(same);
      this.#ids.set(own, same ? same.id : this.#made(found?.label ?? ""));
    }
  }

  /** The id of a new object of the page, which a text found. */
  #made(label) {
    const { work } = this;
    const { next } = work.value;
    work.replace(Video.addObject(work.value, label || "object"));
    return next;
  }

  /** Put an answer into the work: of a frame that was answered before, it tells what has changed. */
  #put(frame, { width, height, objects, hidden, ended }) {
    const { work } = this;
    const told = new Set([...objects.map(({ id }) => id), ...hidden, ...ended].map((own) => this.#ids.get(own)));
    const before = (work.value.frames.get(frame)?.objects ?? []).filter(({ id }) => !told.has(id));
    const now = objects.flatMap(({ id: own, confidence: score, masks }) => {
      const id = this.#ids.get(own);
      return id ? [{ id, score, mask: new Mask(masks) }] : [];
    });
    const all = [...before, ...now].sort((one, other) => one.id - other.id);
    work.replace(Video.answered(work.value, frame, { width, height, objects: all }));
    this.on.answered(frame);
  }
}

function bestOf(mask, known) {
  let [best, most] = [null, 0];
  for (const one of known) {
    const share = overlap(one.mask, mask);
    if (share >= SAME && share > most) [best, most] = [one, share];
  }
  return best;
}

function wireText({ text }) {
  return { text };
}

function wireShown(shown) {
  return wirePrompt({ kind: "object", ...shown });
}

function boxed({ mask }) {
  return wireShown({ points: [], box: mask.bounds() });
}
