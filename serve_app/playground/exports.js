/** Exports the shown instances as files: COCO annotations, PNG masks, the picture with its overlay. */

import { classes, idsOf, keyOf } from "./classes.js";
import { maskPng } from "./png.js";
import { polygonsOf } from "./polygons.js";
import { drawInstances } from "./stage.js";
import { zip } from "./zip.js";

/** Hex digits of an image's digest in its id, and ids of annotations per image: together the integers of a double. */
const ID_DIGITS = 10;
const IDS_PER_IMAGE = 2 ** 13;

/**
 * COCO's object detection format, with scores, as a file. Files can be joined list by list: ids of images and annotations
 * follow from the image's digest, and a class has one id in all files (classes.js).
 * @param {{image: object, instances: import("./instances.js").Instance[]}[]} findings one for each image. An image that is
 *   a `frame` of a video has its number, and instances have the number of the object that they `track`.
 * @param {"polygons" | "rle"} segmentation
 */
export function cocoOf(findings, model, segmentation) {
  const ids = idsOf(findings.flatMap(({ instances }) => instances.map(({ category }) => category)));
  const document = {
    info: { description: `Segmented with sam3-serve, model ${model}`, version: "1.0" },
    licenses: [],
    images: findings.map(({ image }) => ({
      id: idOf(image), file_name: image.name, width: image.width, height: image.height,
      ...(image.frame === undefined ? {} : { frame: image.frame }),
    })),
    categories: classes().map((name, index) => ({ id: index + 1, name, supercategory: "" })),
    annotations: findings.flatMap(({ image, instances }) => instances.map((instance, index) => ({
      id: idOf(image) * IDS_PER_IMAGE + index,
      image_id: idOf(image),
      category_id: ids.get(keyOf(instance.category)),
      segmentation: segmentation === "rle" ? instance.mask.rle : polygonsOf(instance.mask),
      bbox: boundsOf(instance.mask),
      area: instance.area,
      iscrowd: 0,
      score: instance.score,
      ...(instance.track === undefined ? {} : { track_id: instance.track }),
    }))),
  };
  return new Blob([JSON.stringify(document, null, 1)], { type: "application/json" });
}

function idOf({ digest }) {
  return parseInt(digest.slice(0, ID_DIGITS), 16);
}

/** One PNG per instance, in a ZIP. */
export async function masksOf(instances) {
  const files = await Promise.all(
    instances.map(async (instance, index) => {
      const number = String(index + 1).padStart(3, "0");
      const name = instance.category.replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 60);
      return { name: `${number}_${name}_${instance.score.toFixed(2)}.png`, data: await maskPng(instance.mask) };
    }),
  );
  return zip(files);
}

/** The image at its own size with its overlay. */
export async function overlayOf(image, instances) {
  if (!image.readable) throw new Error("This image's host does not let pages read it, so the overlay cannot be saved.");
  const canvas = new OffscreenCanvas(image.width, image.height);
  const context = canvas.getContext("2d");
  context.drawImage(image.bitmap, 0, 0, image.width, image.height);
  drawInstances(context, instances, Math.min(1, 1000 / Math.max(image.width, image.height)));
  return canvas.convertToBlob({ type: "image/png" });
}

export function download(content, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

export function boundsOf(mask) {
  const { x0, y0, x1, y1 } = mask.bounds();
  return [x0, y0, x1 - x0, y1 - y0];
}
