/** The page's text where no instances are: it tells waiting, failed and found nothing apart. */

import { countBelow, nameOf } from "./instances.js";

/**
 * @param {import("./page.js").Page} page @param {number} now performance.now()
 * @returns {{kind: "idle" | "waiting" | "failed" | "nothing", text: string}}
 */
export function situationOf(page, now) {
  const { image, state, answers } = page;
  const waiting = waitingText(page, now);
  if (waiting) return { kind: "waiting", text: waiting };
  if (!image) return { kind: "idle", text: "Open an image to begin." };
  if (answers.notEncoded) return { kind: "failed", text: `The image could not be encoded. ${answers.notEncoded.message}` };
  if (!state.prompts.length) return { kind: "idle", text: "Nothing was asked yet." };
  const failed = state.prompts.filter((prompt) => answers.errorOf(prompt));
  if (failed.length) {
    return { kind: "failed", text: `No answer for ${failed.map(nameOf).join(", ")}. ${answers.errorOf(failed[0]).message}` };
  }
  const below = state.prompts.reduce((sum, prompt) => sum + countBelow(prompt, answers.answerTo(prompt)), 0);
  if (below) return { kind: "nothing", text: `Found nothing this sure. ${below} less sure: lower the confidence to see ${below === 1 ? "it" : "them"}.` };
  if (state.removed.length) return { kind: "nothing", text: "Everything that was found is deleted." };
  return { kind: "nothing", text: "Found nothing. Try other words, an example or a click." };
}

/** "Encoding the image, 3 s"; empty when nothing is waited for. */
export function waitingText(page, now) {
  if (page.loading) return withTime("Opening the image", page.loading, now);
  const { waiting } = page.answers;
  if (!waiting) return "";
  return withTime(waiting.for === "encoding" ? "Encoding the image" : "Waiting for the answer", waiting.since, now);
}

function withTime(text, since, now) {
  const seconds = Math.floor((now - since) / 1000);
  return seconds ? `${text}, ${seconds} s` : `${text}…`;
}
