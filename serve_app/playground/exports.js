/** Exports the shown instances as files: COCO annotations, PNG masks, the picture with its overlay. */

import { maskPng } from "./png.js";
import { drawInstances } from "./stage.js";
import { zip } from "./zip.js";

/** COCO's object detection format, with scores. Masks are run-length encodings: polygons cannot have holes. */
export function cocoOf(image, instances, model) {
  const names = [...new Set(instances.map((instance) => instance.category))];
  return {
    info: { description: `Segmented with sam3-serve, model ${model}`, version: "1.0" },
    licenses: [],
    images: [{ id: 1, file_name: image.name, width: image.width, height: image.height }],
    categories: names.map((name, index) => ({ id: index + 1, name, supercategory: "" })),
    annotations: instances.map((instance, index) => ({
      id: index + 1,
      image_id: 1,
      category_id: names.indexOf(instance.category) + 1,
      segmentation: instance.mask.rle,
      bbox: boundsOf(instance.mask),
      area: instance.area,
      iscrowd: 0,
      score: instance.score,
    })),
  };
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

function boundsOf(mask) {
  const { x0, y0, x1, y1 } = mask.bounds();
  return [x0, y0, x1 - x0, y1 - y0];
}
