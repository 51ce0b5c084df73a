/** Exports what is found in the frames of a video: COCO annotations, MOTChallenge's text, a mask for each frame. */

import { boundsOf, cocoOf } from "./exports.js";
import { numbersPng } from "./png.js";
import { digestOf } from "./sha256.js";
import { COLOURS } from "./state.js";
import { instancesIn } from "./video_state.js";
import { zip } from "./zip.js";

/** What a palette with a colour for each number begins with: no object. */
const BLACK = [0, 0, 0];

/** The answered frames in their order, with the objects that are shown. @param {import("./video_state.js").VideoState} state */
function framesOf(state) {
  return [...state.frames].sort(([one], [other]) => one - other).map(([frame, { width, height }]) => ({
    frame, width, height, instances: instancesIn(state, frame).filter(({ hidden }) => !hidden),
  }));
}

/** An image for each frame; `track_id` is the object's number in all frames. source: of video_source.js. */
export async function videoCoco(source, state, model, segmentation) {
  const digests = new Map();
  const findings = [];
  for (const { frame, width, height, instances } of framesOf(state)) {
    const own = source.fileOf?.(frame) ?? source.file;
    if (!digests.has(own)) digests.set(own, await digestOf(own));
    const digest = await digestOf(new Blob([`${digests.get(own)} ${frame}`])); // two frames may be the same picture
    const name = source.file ? String(frame).padStart(6, "0") : own.name;
    findings.push({ image: { digest, name, frame, width, height }, instances });
  }
  return cocoOf(findings, model, segmentation);
}

/** A line for each object of each frame: frame from 1, object, left, top, width, height, score, and three places of no meaning. */
export function motOf(state) {
  const lines = framesOf(state).flatMap(({ frame, instances }) =>
    instances.map(({ track, mask, score }) => `${[frame + 1, track, ...boundsOf(mask), score].join(",")},-1,-1,-1\n`),
  );
  return new Blob(lines, { type: "text/plain" });
}

/** One PNG for each frame, as DAVIS has them, in a ZIP: a pixel's value is its object's number; smaller objects lie above. */
export async function frameMasksOf(state) {
  const files = framesOf(state).map(async ({ frame, instances, ...size }) => {
    const masks = [...instances].sort((one, other) => other.area - one.area).map(({ mask, track }) => ({ mask, number: track }));
    return { name: `${String(frame).padStart(6, "0")}.png`, data: await numbersPng(size, masks, PALETTE) };
  });
  return zip(await Promise.all(files));
}

const PALETTE = [BLACK, ...Array.from({ length: 255 }, (_, index) => rgbOf(COLOURS[index % COLOURS.length]))];

function rgbOf(colour) {
  return [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
}
