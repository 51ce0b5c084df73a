/**
 * The answers to prompts about one image.
 *
 * An answer is kept under its prompt's signature. So an outdated answer is never shown, and undo finds the old answer
 * without a request. A request is cancelled when none of its prompts is needed any more:
 *
 *   unknown -> asked -> known | failed;   asked -> unknown when no prompt needs it any more
 *
 * The answers about the last images are kept too, each model's by itself, so that going back to one asks nothing.
 */

import { ApiError } from "./client.js";
import { Mask } from "./mask.js";
import { bodyOf, signatureOf, wirePrompt } from "./requests.js";
import { MOST_CONCEPTS } from "./state.js";

const MOST_KEPT = 500;
const MOST_IMAGES = 20;
const MOST_PROMPTS = { concept: MOST_CONCEPTS, object: 64 };

export class Answers {
  #client;
  #changed;
  #image = null;
  #key = null;
  #embedding = null;
  #notEncoded = null;
  #known = new Map();
  #failed = new Map();
  #requests = new Set();
  #wanted = new Set();
  #earlier = new Map();
  #serial = 0;
  /** Counts changes of the known answers. */
  version = 0;

  /** changed: called when an answer arrives or a request ends, with the error if there is one. */
  constructor(client, changed) {
    this.#client = client;
    this.#changed = changed;
  }

  /** Go on with another image: {digest, source}, source a file or a link. It is encoded at once, if it is new. */
  setImage(image) {
    for (const request of this.#requests) request.abort.abort();
    this.#stopEncoding();
    this.#keepEarlier();
    this.#image = image;
    this.#key = image && JSON.stringify([this.#client.model(), image.digest]);
    const earlier = this.#earlier.get(this.#key);
    this.#embedding = earlier?.embedding ?? null;
    this.#known = earlier?.known ?? new Map();
    this.#notEncoded = null;
    this.#failed.clear();
    this.#wanted.clear();
    this.version++;
    if (image) this.#embedded().catch((error) => this.#report(error));
  }

  #stopEncoding() {
    if (!this.#embedding || this.#embedding.done) return;
    this.#embedding.abort.abort();
    this.#embedding = null;
  }

  #keepEarlier() {
    if (!this.#image || !this.#embedding) return;
    this.#earlier.delete(this.#key);
    this.#earlier.set(this.#key, { embedding: this.#embedding, known: this.#known });
    if (this.#earlier.size > MOST_IMAGES) this.#earlier.delete(this.#earlier.keys().next().value);
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
    this.#notEncoded = null;
    if (this.#image && !this.#embedding) this.#embedded().catch((error) => this.#report(error));
  }

  /** @returns {{serial: number, instances: {score: number, mask: Mask}[]} | undefined} */
  answerTo(prompt) {
    return this.#known.get(signatureOf(prompt));
  }

  /** The error that keeps the image from being encoded; null when it is encoded, or may become so. @returns {Error |
  null} */
  get notEncoded() {
    return this.#notEncoded;
  }

  /** The error that left a prompt without an answer. @returns {Error | undefined} */
  errorOf(prompt) {
    return this.#failed.get(signatureOf(prompt));
  }

  /** The awaited encoding or answer, and the time since when (performance.now()); null for nothing. */
  get waiting() {
    if (this.#embedding && !this.#embedding.done) return { for: "encoding", since: this.#embedding.begun };
    const begun = [...this.#requests].map((request) => request.begun);
    return begun.length ? { for: "answer", since: Math.min(...begun) } : null;
  }

  isAsked(prompt) {
    const signature = signatureOf(prompt);
    return [...this.#requests].some((request) => request.signatures.includes(signature));
  }

  async #request(kind, missing) {
    const signatures = missing.map(([signature]) => signature);
    const request = { signatures, abort: new AbortController(), begun: performance.now() };
    this.#requests.add(request);
    try {
      const body = bodyOf(kind, missing.map(([, prompt]) => wirePrompt(prompt)));
      const results = await this.#askAbout(kind, body, request);
      request.abort.signal.throwIfAborted();
      signatures.forEach((signature, index) => this.#keep(signature, results[index]));
      this.#requests.delete(request);
      this.#changed(null);
    } catch (error) {
      this.#requests.delete(request);
      if (request.abort.signal.aborted || isAbort(error)) return this.#changed(null);
      for (const signature of signatures) this.#failed.set(signature, error);
      this.#report(error);
    }
  }

  /** Ask about the image by its id, and send the image again if the server no longer has it. */
  async #askAbout(kind, body, request) {
    const { signal } = request.abort;
    const embedding = this.#embedded();
    const id = await embedding;
    signal.throwIfAborted();
    request.begun = performance.now();
    try {
      return await this.#client.ask(kind, { image_id: id, ...body }, signal);
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 404 || signal.aborted) throw error;
      if (this.#embedding?.promise === embedding) this.#embedding = null;
      return this.#client.ask(kind, { image_id: await this.#embedded(), ...body }, signal);
    }
  }

  /** The image's id, once it is encoded. All callers share one request. */
  #embedded() {
    if (!this.#embedding) {
      const embedding = { abort: new AbortController(), done: false, promise: null, begun: performance.now() };
      embedding.promise = this.#client.embed(this.#image.source, embedding.abort.signal).finally(() => (embedding.done = true));
      embedding.promise.then(
        () => this.#changed(null),
        (error) => {
          if (this.#embedding !== embedding) return;
          this.#embedding = null;
          if (!isAbort(error)) this.#notEncoded = error;
        },
      );
      this.#embedding = embedding;
    }
    return this.#embedding.promise;
  }

  #keep(signature, predictions) {
    const instances = predictions.map(({ confidence, masks }) => ({ score: confidence, mask: new Mask(masks) }));
    instances.sort((one, other) => other.score - one.score);
    this.#known.set(signature, { serial: ++this.#serial, instances });
    if (this.#known.size > MOST_KEPT) this.#known.delete(this.#known.keys().next().value);
    this.version++;
  }

  #report(error) {
    if (!isAbort(error)) this.#changed(error);
  }
}

function isAbort(error) {
  return error?.name === "AbortError";
}
