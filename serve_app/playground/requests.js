/**
 * Turns prompts into the API's requests, and into the signatures under which answers are kept.
 *
 * Concepts are requested with a low threshold and filtered on the page, so that moving a threshold sends no request.
 */

/** The threshold of all requests, and the lowest value of the page's thresholds. */
export const LOWEST_THRESHOLD = 0.1;

/** @param {import("./state.js").Prompt} prompt @returns its items in the API's `prompts` */
export function wirePrompt(prompt) {
  return prompt.kind === "concept" ? wireConcept(prompt) : wireObject(prompt);
}

/** A prompt's signature: equal for prompts with the same answer, also with other thresholds and colours. */
export function signatureOf(prompt) {
  return JSON.stringify([prompt.kind, wirePrompt(prompt)]);
}

/** The bodies of a request for several prompts of one kind, without the image. */
export function bodyOf(kind, wirePrompts) {
  if (kind === "object") return { prompts: { prompts: wirePrompts }, format: "rle" };
  return { prompts: wirePrompts, format: "rle", output_prob_thresh: LOWEST_THRESHOLD };
}

export const ROUTES = {
  concept: "/sam3/concept_segment", object: "/sam3/visual_segment", embed: "/sam3/embed_image", picture: "/playground/picture",
  models: "/models",
};

function wireConcept({ text, examples }) {
  const wire = { type: examples.length ? "visual" : "text" };
  if (text) wire.text = text;
  if (examples.length) {
    wire.boxes = examples.map(({ box }) => ({
      x: box.x0,
      y: box.y0,
      width: box.x1 - box.x0,
      height: box.y1 - box.y0,
    }));
    wire.box_labels = examples.map(({ like }) => (like ? 1 : 0));
  }
  return wire;
}

function wireObject({ points, box }) {
  const wire = {};
  if (points.length) wire.points = points.map(({ x, y, positive }) => ({ x, y, positive }));
  if (box) {
    wire.box = {
      x: (box.x0 + box.x1) / 2,
      y: (box.y0 + box.y1) / 2,
      width: box.x1 - box.x0,
      height: box.y1 - box.y0,
    };
  }
  return wire;
}
