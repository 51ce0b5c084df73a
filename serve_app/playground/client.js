/** Client of the server's public routes: cancellable requests, errors that say what to do, and timings. */

import { ROUTES } from "./requests.js";
import { parseServerTiming } from "./timing.js";

const MOST_TRIES = 4;
const MOST_WAIT_S = 10;

/** status: the answer's HTTP status; 0 when there was no answer. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export class Client {
  /** @param {string} root prefix of the routes @param {() => string} key the API key, or "" */
  constructor(root, key, onTiming = (_timing) => {}) {
    this.root = root;
    this.key = key;
    this.onTiming = onTiming;
  }

  /** Have an image encoded; returns the id under which the server keeps it. @param {AbortSignal} signal */
  async embed(source, signal) {
    if (source.url) return (await this.#post(ROUTES.embed, json({ image: { type: "url", value: source.url } }), signal)).image_id;
    const form = new FormData();
    form.set("image", source.file, "image");
    return (await this.#post(ROUTES.embed, { body: form }, signal)).image_id;
  }

  /** @param {AbortSignal} signal */
  ask(kind, body, signal) {
    return this.#post(ROUTES[kind], json(body), signal);
  }

  async #post(route, options, signal) {
    for (let tries = 1; ; tries++) {
      const begun = performance.now();
      const response = await this.#fetch(route, options, signal);
      const wait = Number(response.headers.get("Retry-After"));
      if ((response.status === 503 || response.status === 429) && wait > 0 && tries < MOST_TRIES) {
        await pause(Math.min(wait, MOST_WAIT_S) * 1000, signal);
        continue;
      }
      if (!response.ok) throw new ApiError(response.status, await messageOf(response));
      const answer = await response.json();
      const roundTrip = performance.now() - begun;
      this.onTiming({ route, roundTrip, ...parseServerTiming(response.headers.get("Server-Timing") ?? "") });
      return answer;
    }
  }

  async #fetch(route, options, signal) {
    const headers = { ...options.headers };
    if (this.key()) headers.Authorization = `Bearer ${this.key()}`;
    try {
      return await fetch(this.root + route, { ...options, method: "POST", headers, signal });
    } catch (error) {
      if (signal.aborted) throw error;
      throw new ApiError(0, "No answer from the server. Is it still running?");
    }
  }
}

function json(body) {
  return { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
}

async function messageOf(response) {
  const answer = await response.json().catch(() => ({}));
  if (typeof answer.message === "string") return answer.message;
  if (Array.isArray(answer.detail)) return answer.detail.map((item) => item.msg).join("; ");
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
