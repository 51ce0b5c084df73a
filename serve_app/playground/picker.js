/** Lets users choose, drop, paste or link an image, or take a sample. Also the pane that offers this. */

import { byId } from "./dom.js";
import { fromFile, fromLink, fromSample, imageIn } from "./images.js";
import { isTyping } from "./keyboard.js";

/** open: takes a promise of an image. */
export function imagePicker(assets, open) {
  const pane = byId("picker");
  const file = byId("file");
  byId("choose").addEventListener("click", () => file.click());
  file.addEventListener("change", () => {
    if (file.files[0]) open(fromFile(file.files[0], file.files[0].name));
    file.value = "";
  });
  byId("link-form").addEventListener("submit", (event) => {
    event.preventDefault();
    open(fromLink(byId("link").value));
  });
  byId("samples").addEventListener("click", (event) => {
    const sample = event.target.closest("[data-sample]");
    if (sample) open(fromSample(assets, sample.dataset.sample));
  });
  listenToDrops(open);
  document.addEventListener("paste", (event) => {
    if (isTyping(event.target) && !event.clipboardData?.files.length) return; // text goes into the field
    take(event.clipboardData, open);
  });
  return {
    show: (closable) => {
      pane.hidden = false;
      byId("picker-close").hidden = !closable;
      byId("choose").focus();
    },
    hide: () => (pane.hidden = true),
  };
}

function listenToDrops(open) {
  let depth = 0; // enter and leave events come for every nested element
  const mark = () => document.body.classList.toggle("dropping", depth > 0);
  document.addEventListener("dragenter", (event) => {
    event.preventDefault();
    depth++;
    mark();
  });
  document.addEventListener("dragleave", () => {
    depth = Math.max(0, depth - 1);
    mark();
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    mark();
    take(event.dataTransfer, open);
  });
}

function take(transfer, open) {
  const found = imageIn(transfer);
  if (found?.file) open(fromFile(found.file, found.file.name || "pasted.png"));
  else if (found?.link) open(fromLink(found.link));
  else if (transfer?.files.length) open(Promise.reject(new Error("That is not an image.")));
}
