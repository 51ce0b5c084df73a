/** Client of the server's public routes: cancellable requests, errors that say what to do, and timings. */

import { ROUTES } from "./requests.js";
import { parseServerTiming } from "./timing.js";

const MOST_TRIES = 4;
const MOST_WAIT_S = 10;

/** status: the answer's HTTP status; 0 when there was none that this page understands. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }

  /** True if the same request may succeed later: no request of a wrong form, none that is too large. */
  get mayPass() {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

const CUT = "The connection to the server was cut.";
const NOT_OURS = "The answer is not one of this server: is a proxy or a sign-in page in between?";
const OTHER_SHAPE = "The server's answer has a form that this page does not know. Reload the page: the server may be newer.";

export class Client {
  /**
   * @param {string} root prefix of the routes @param {() => string} key the API key, or ""
   * @param {() => string} model the model's name, or "" for the default
   */
  constructor(root, key, model, onTiming = (_timing) => {}) {
    this.root = root;
    this.key = key;
    this.model = model;
    this.onTiming = onTiming;
  }

  /** Have an image encoded; returns the id under which the server keeps it. @param {AbortSignal} signal */
  async embed(source, signal) {
    const { image_id: id } = await this.call(ROUTES.embed, imageBody(source, this.#chosen()), signal);
    if (typeof id !== "string") throw new ApiError(0, OTHER_SHAPE);
    return id;
  }

  /** The predictions for each prompt of a body, in order. @param {AbortSignal} signal */
  async ask(kind, body, signal) {
    const answer = await this.call(ROUTES[kind], json({ ...body, ...this.#chosen() }), signal);
    const prompts = kind === "object" ? body.prompts.prompts : body.prompts;
    const results = prompts.map((_, index) => answer.prompt_results?.[index]?.predictions);
    if (!results.every((one) => Array.isArray(one) && one.every(isPrediction))) throw new ApiError(0, OTHER_SHAPE);
    return results;
  }

  /** An image that this browser cannot show, as one that it can: {file, width, height}, the size of the image itself. */
  async picture(source) {
    const response = await this.#fetch(ROUTES.picture, imageBody(source), new AbortController().signal);
    if (!response.ok) throw new ApiError(response.status, await messageOf(response));
    const [width, height] = (response.headers.get("X-Image-Size") ?? "").split("x").map(Number);
    if (!width || !height) throw new ApiError(0, NOT_OURS);
    return { file: await response.blob(), width, height };
  }

  /** The server's models. @returns {Promise<{name: string, default: boolean, state: string}[]>} */
  async models() {
    const response = await this.#fetch(ROUTES.models, { method: "GET" }, new AbortController().signal);
    if (!response.ok) throw new ApiError(response.status, await messageOf(response));
    return (await response.json()).models;
  }

  #chosen() {
    return this.model() ? { model_id: this.model() } : {};
  }

  /** The JSON answer to a POST. options: of `fetch`. @param {AbortSignal} signal */
  async call(route, options, signal) {
    const { response, begun } = await this.#answered(route, options, signal);
    const answer = await response.json().catch((error) => {
      if (signal.aborted) throw error;
      throw new ApiError(0, NOT_OURS);
    });
    const roundTrip = performance.now() - begun;
    this.onTiming({ route, roundTrip, ...parseServerTiming(response.headers.get("Server-Timing") ?? "") });
    return answer ?? {};
  }

  /** The JSON answer to a POST of JSON. @param {AbortSignal} signal */
  send(route, body, signal) {
    return this.call(route, json(body), signal);
  }

  /** The lines of a streamed answer to a POST, each of them JSON. @param {AbortSignal} signal */
  async *lines(route, signal) {
    const { response } = await this.#answered(route, {}, signal);
    let rest = "";
    try {
      for (const reader = response.body.pipeThrough(new TextDecoderStream()).getReader(); ; ) {
        const { done, value } = await reader.read();
        const lines = (rest + (value ?? "")).split("\n");
        rest = done ? "" : lines.pop();
        for (const line of lines) if (line) yield JSON.parse(line);
        if (done) return;
      }
    } catch (error) {
      if (signal.aborted || error instanceof ApiError) throw error;
      throw new ApiError(0, error instanceof SyntaxError ? NOT_OURS : CUT);
    }
  }

  /** DELETE, also while the page is being left. Nobody waits for the answer. */
  leave(route) {
    const headers = this.key() ? { Authorization: `Bearer ${this.key()}` } : {};
    return fetch(this.root + route, { method: "DELETE", headers, keepalive: true }).catch(() => {});
  }

  /** A good response, after a server that is busy has been asked again. begun: when, by performance.now(). */
  async #answered(route, options, signal) {
    for (let tries = 1; ; tries++) {
      const begun = performance.now();
      const response = await this.#fetch(route, options, signal);
      const wait = Number(response.headers.get("Retry-After"));
      if ((response.status === 503 || response.status === 429) && wait > 0 && tries < MOST_TRIES) {
        await pause(Math.min(wait, MOST_WAIT_S) * 1000, signal);
        continue;
      }
      if (!response.ok) throw new ApiError(response.status, await messageOf(response));
      return { response, begun };
    }
  }

  async #fetch(route, options, signal) {
    const headers = { ...options.headers };
    if (this.key()) headers.Authorization = `Bearer ${this.key()}`;
    try {
      return await fetch(this.root + route, { method: "POST", ...options, headers, signal });
    } catch (error) {
      if (signal.aborted) throw error;
      throw new ApiError(0, "No answer from the server. Is it still running?");
    }
  }
}

function imageBody({ url, file }, fields = {}) {
  if (url) return json({ image: { type: "url", value: url }, ...fields });
  const form = new FormData();
  form.set("image", file, "image");
  if (Object.keys(fields).length) form.set("request", JSON.stringify(fields));
  return { body: form };
}

function isPrediction(one) {
  const { size, counts } = one?.masks ?? {};
  return typeof one?.confidence === "number" && Array.isArray(size) && size.length === 2 && typeof counts === "string";
}

function json(body) {
  return { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
}

async function messageOf(response) {
  const answer = await response.json().catch(() => ({}));
  if (typeof answer?.message === "string") return answer.message;
  if (Array.isArray(answer?.detail)) return answer.detail.map((item) => item.msg).join("; ");
  return `The server answered ${response.status}.`;
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
