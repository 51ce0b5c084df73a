/** The page's requests as commands and code to copy. They name a variable for the key and never contain it. */

import { SAME } from "./overlap.js";
import { ROUTES, wirePrompt } from "./requests.js";

/**
 * @param {{origin: string, keys: boolean, image: import("./images.js").LoadedImage,
 *   prompts: import("./state.js").Prompt[], distinct: boolean, model: string}} what keys: the server needs a key.
 *   origin: with the prefix. distinct: duplicates are left out. model: the chosen one, or "" for the default
 */
export function curl(what) {
  const { image } = what;
  const lines = image.sample ? [`curl -sSO ${quoted(sampleUrl(what))}`] : [];
  for (const [kind, request] of requestsOf(what)) {
    const key = what.keys ? ['-H "Authorization: Bearer $SAM3_API_KEY"'] : [];
    const body = image.source.url
      ? ["-H 'Content-Type: application/json'", `-d ${quoted(spread({ image: { type: "url", value: image.source.url }, ...request }))}`]
      : [`-F ${quoted(`image=@"${image.name.replace(/["\\]/g, "\\$&")}"`)}`, `--form-string ${quoted(`request=${spread(request)}`)}`];
    lines.push([`curl -sS ${quoted(what.origin + ROUTES[kind])}`, ...key, ...body].join(" \\\n  "));
  }
  return lines.join("\n\n");
}

/** With Roboflow's inference-sdk. */
export function python(what) {
  const { image } = what;
  const key = what.keys ? ', api_key=os.environ["SAM3_API_KEY"]' : "";
  const imports = [what.keys && "import os", image.sample && "from urllib.request import urlretrieve"].filter(Boolean);
  const lines = [
    ...imports, ...(imports.length ? [""] : []),
    "from inference_sdk import InferenceHTTPClient  # pip install inference-sdk",
    "",
    `client = InferenceHTTPClient(api_url=${literal(what.origin)}${key})`,
    `image = ${literal(image.source.url ?? image.name)}`,
  ];
  if (image.sample) lines.push(`urlretrieve(${literal(sampleUrl(what))}, image)`);
  for (const [kind, request] of requestsOf(what)) {
    const [call, result] = kind === "concept" ? ["sam3_concept_segment", "found"] : ["sam3_visual_segment", "masks"];
    const prompts = kind === "concept" ? request.prompts : request.prompts.prompts;
    const note = request.model_id && kind === "object" ? ["# inference-sdk names no model here: the server's default answers."] : [];
    lines.push("", ...note, `${result} = client.${call}(`, "    image,", "    prompts=[");
    for (const prompt of prompts) lines.push(`        ${literal(prompt)},`);
    lines.push("    ],", ...(request.model_id && kind === "concept" ? [`    model_id=${literal(request.model_id)},`] : []), ...(request.nms_iou_threshold ? [`    nms_iou_threshold=${request.nms_iou_threshold},`] : []), ")");
    lines.push(...(kind === "concept" ? PRINT_CONCEPTS : PRINT_OBJECTS));
  }
  return lines.join("\n");
}

const PRINT_CONCEPTS = [
  'for result in found["prompt_results"]:',
  '    print(result["echo"]["text"], [round(one["confidence"], 2) for one in result["predictions"]])',
];
const PRINT_OBJECTS = ['print([round(one["confidence"], 2) for one in masks["predictions"]])'];

function sampleUrl({ origin, image }) {
  return `${origin}/playground/samples/${image.name}`;
}

/** JSON with one prompt per line. */
function spread(request) {
  const lists = request.prompts.prompts ?? request.prompts;
  const lines = lists.map((prompt) => `\n    ${JSON.stringify(prompt)}`).join(",");
  return JSON.stringify(request).replace(JSON.stringify(lists), () => `[${lines}\n  ]`);
}

/** One request for the shown concepts, with their thresholds, and one for the shown objects. */
function requestsOf({ prompts, distinct, model }) {
  const shown = prompts.filter((prompt) => !prompt.hidden);
  const concepts = shown.filter((prompt) => prompt.kind === "concept");
  const objects = shown.filter((prompt) => prompt.kind === "object");
  const requests = [];
  const chosen = model ? { model_id: model } : {};
  if (concepts.length) {
    const wire = concepts.map((one) => ({ ...wirePrompt(one), output_prob_thresh: one.threshold }));
    requests.push(["concept", { prompts: wire, ...(distinct ? { nms_iou_threshold: SAME } : {}), ...chosen }]);
  }
  if (objects.length) requests.push(["object", { prompts: { prompts: objects.map(wirePrompt) }, ...chosen }]);
  return requests;
}

/** For a POSIX shell. */
export function quoted(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** A value of JSON as Python writes it. */
export function literal(value) {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  if (typeof value === "object") {
    return `{${Object.entries(value).map(([name, one]) => `${JSON.stringify(name)}: ${literal(one)}`).join(", ")}}`;
  }
  return JSON.stringify(value);
}
