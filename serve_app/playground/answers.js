/**
 * The answers to prompts about one image.
 *
 * An answer is kept under its prompt's signature. So an outdated answer is never shown, and undo finds the old answer
 * without a request. A request is cancelled when none of its prompts is needed any more:
 *
 *   unknown -> asked -> known | failed;   asked -> unknown when no prompt needs it any more
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

  /** changed: called when an answer arrives or a request ends, with the error if there is one. */
  constructor(client, changed) {
    this.#client = client;
    this.#changed = changed;
  }

  /** Start with another image (a file, or a link), which is encoded at once. All answers about the last one go. */
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

  /** Request the missing answers of these prompts, and cancel all other requests. @param {import("./state.js").Prompt[]} prompts */
  want(prompts) {
    const bySignature = new Map(prompts.map((prompt) => [signatureOf(prompt), prompt]));
    const same = bySignature.size === this.#wanted.size && [...bySignature.keys()].every((one) => this.#wanted.has(one));
    if (!same) this.#failed.clear(); // after a change, failed requests are tried again
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

  /** Forget failures, so that failed requests are sent again. */
  retry() {
    this.#failed.clear();
    if (this.#image && !this.#embedding) this.#embedded().catch((error) => this.#report(error));
  }

  /** @returns {{serial: number, instances: {score: number, mask: Mask, area: number, box: object}[]} | undefined} */
  answerTo(prompt) {
    return this.#known.get(signatureOf(prompt));
  }

  /** Whether a request is under way. */
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

  /** Ask about the image by its id, and send the image again if the server no longer has it. */
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

  /** The image's id, once it is encoded. All callers share one request. */
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
