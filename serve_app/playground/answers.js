/**
 * The answers to prompts about one image.
 *
 * An answer is kept under its prompt's signature: a stale one can never show, and undo finds the old one without
 * asking. A request runs as long as one of its prompts is still wanted, then it is cancelled:
 *
 *   unknown -> asked -> known | failed;   asked -> unknown when nobody wants it any more
 */

import { ApiError } from "./client.js";
import { Mask } from "./mask.js";
import { bodyOf, signatureOf, wirePrompt } from "./requests.js";
import { MOST_CONCEPTS } from "./state.js";

const MOST_KEPT = 500;
const MOST_PROMPTS = { concept: MOST_CONCEPTS, object: 64 };

export class Answers {
  #client;
  #changed;
  #image = null;
  #embedding = null;
  #known = new Map();
  #failed = new Set();
  #requests = new Set();
  #wanted = new Set();
  #serial = 0;

  /** changed: called when an answer came or a request ended, with the error if there was one. */
  constructor(client, changed) {
    this.#client = client;
    this.#changed = changed;
  }

  /** Another image (a file, or a link): nothing of the last one is kept or waited for. It is encoded at once. */
  setImage(source) {
    for (const request of this.#requests) request.abort.abort();
    this.#embedding?.abort.abort();
    this.#image = source;
    this.#embedding = null;
    this.#known.clear();
    this.#failed.clear();
    this.#wanted.clear();
    if (source) this.#embedded().catch((error) => this.#report(error));
  }

  /** Ask for what these prompts lack, and cancel what none of them needs. @param {import("./state.js").Prompt[]} prompts */
  want(prompts) {
    const bySignature = new Map(prompts.map((prompt) => [signatureOf(prompt), prompt]));
    const same = bySignature.size === this.#wanted.size && [...bySignature.keys()].every((one) => this.#wanted.has(one));
    if (!same) this.#failed.clear(); // somebody goes on: what failed before gets another chance
    this.#wanted = new Set(bySignature.keys());
    for (const request of this.#requests) {
      if (!request.signatures.some((signature) => this.#wanted.has(signature))) request.abort.abort();
    }
    if (!this.#image) return;
    const asked = new Set([...this.#requests].filter((one) => !one.abort.signal.aborted).flatMap((one) => one.signatures));
    const missing = [...bySignature].filter(
      ([signature]) => !this.#known.has(signature) && !asked.has(signature) && !this.#failed.has(signature),
    );
    for (const kind of ["concept", "object"]) {
      const ofKind = missing.filter(([, prompt]) => prompt.kind === kind);
      for (let at = 0; at < ofKind.length; at += MOST_PROMPTS[kind]) {
        this.#request(kind, ofKind.slice(at, at + MOST_PROMPTS[kind]));
      }
    }
  }

  /** Forget failures, so that they are asked for again. */
  retry() {
    this.#failed.clear();
    if (this.#image && !this.#embedding) this.#embedded().catch((error) => this.#report(error));
  }

  /** @returns {{serial: number, instances: {score: number, mask: Mask, area: number, box: object}[]} | undefined} */
  answerTo(prompt) {
    return this.#known.get(signatureOf(prompt));
  }

  /** Whether anything is on its way. */
  get busy() {
    return this.#requests.size > 0 || Boolean(this.#embedding && !this.#embedding.done);
  }

  isAsked(prompt) {
    const signature = signatureOf(prompt);
    return [...this.#requests].some((request) => request.signatures.includes(signature));
  }

  async #request(kind, missing) {
    const request = { signatures: missing.map(([signature]) => signature), abort: new AbortController() };
    this.#requests.add(request);
    try {
      const body = bodyOf(kind, missing.map(([, prompt]) => wirePrompt(prompt)));
      const answer = await this.#askAbout(kind, body, request.abort.signal);
      request.signatures.forEach((signature, index) => this.#keep(signature, answer.prompt_results[index]));
      this.#requests.delete(request);
      this.#changed(null);
    } catch (error) {
      this.#requests.delete(request);
      if (request.abort.signal.aborted || isAbort(error)) return this.#changed(null);
      for (const signature of request.signatures) this.#failed.add(signature);
      this.#report(error);
    }
  }

  /** The server may have forgotten the image since: it is sent once more. */
  async #askAbout(kind, body, signal) {
    const embedding = this.#embedded();
    const id = await embedding;
    signal.throwIfAborted();
    try {
      return await this.#client.ask(kind, { image_id: id, ...body }, signal);
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 404) throw error;
      if (this.#embedding?.promise === embedding) this.#embedding = null;
      return this.#client.ask(kind, { image_id: await this.#embedded(), ...body }, signal);
    }
  }

  /** The image's id, once it is encoded. All who ask share one request. */
  #embedded() {
    if (!this.#embedding) {
      const embedding = { abort: new AbortController(), done: false, promise: null };
      embedding.promise = this.#client.embed(this.#image, embedding.abort.signal).finally(() => (embedding.done = true));
      embedding.promise.then(
        () => this.#changed(null),
        () => { if (this.#embedding === embedding) this.#embedding = null; },
      );
      this.#embedding = embedding;
    }
    return this.#embedding.promise;
  }

  #keep(signature, result) {
    const instances = result.predictions.map(({ confidence, masks, box, area }) => ({
      score: confidence,
      mask: new Mask(masks),
      box,
      area,
    }));
    instances.sort((one, other) => other.score - one.score);
    this.#known.set(signature, { serial: ++this.#serial, instances });
    if (this.#known.size > MOST_KEPT) this.#known.delete(this.#known.keys().next().value);
  }

  #report(error) {
    if (!isAbort(error)) this.#changed(error);
  }
}

function isAbort(error) {
  return error?.name === "AbortError";
}
