/** Builds the page: connects the parts of the document with the model, and events with actions. */

import { Album } from "./album.js";
import { classesWith, setClasses } from "./classes.js";
import { Client } from "./client.js";
import { byId, setText } from "./dom.js";
import { cocoOf, download, masksOf, overlayOf } from "./exports.js";
import { filmstrip } from "./filmstrip.js";
import { listenToCursor, listenToEscape, listenToShortcuts, roam } from "./keyboard.js";
import { chooseFrom, chosenModel } from "./models.js";
import { announce, dismiss, listenToNotice, notify } from "./notice.js";
import { Page } from "./page.js";
import { instancesPanel } from "./panel_instances.js";
import { promptsPanel } from "./panel_prompts.js";
import { summary, timingPanel } from "./panel_timing.js";
import { imagePicker } from "./picker.js";
import { listenToPointers } from "./pointer.js";
import { preference, setPreference } from "./preferences.js";
import { listenToScrolling } from "./scrolling.js";
import { Row } from "./row.js";
import { findingsOf } from "./row_export.js";
import { apiKey, setApiKey } from "./session.js";
import { curl, python } from "./snippets.js";
import { Stage } from "./stage.js";
import * as State from "./state.js";
import { Store } from "./store.js";
import { tabs } from "./tabs.js";
import { TOOLS } from "./tools.js";
import { videoTab } from "./video.js";
import { isVideo } from "./video_page.js";
import { View } from "./view.js";
import { actualSize, zoomAt } from "./viewport.js";

const { root, assets, model, models, keys, video, every } = document.documentElement.dataset;
const showTiming = timingPanel(byId("timing-latest"), byId("timing-rows"));
const client = new Client(root, apiKey, chosenModel, (timing) => {
  showTiming(timing);
  setText(byId("status-timing"), summary(timing));
});
const schedule = () => view.schedule();
const store = new Store(
  () => notify("This browser keeps nothing: work is lost when the page is closed. Export it before.", { kind: "warning" }),
  schedule,
);
const album = new Album(store);
const stage = new Stage(byId("stage"), byId("marks"), () => schedule());
const page = new Page(client, store, { changed: () => schedule(), pointed: () => view.schedulePointed(), error: explain });
page.scale = () => stage.view.scale;
const row = new Row(album, page, {
  changed: schedule,
  shown: showStage,
  empty: () => picker.show(false),
  failed: (text, again) => notify(text, again ? { label: "Try again", run: again } : {}),
  locked: askForKey,
  restored: () => delete document.body.dataset.restoring,
});
const picker = imagePicker(assets, { open: (...files) => row.open(...files), refused: (message) => notify(message), elsewhere: takenAsVideo });
const videos = videoTab({ root, model, every }, { error: explain });
let snippet = curl;

const view = new View({
  page, row, stage, store, toggleConcept, showSnippet,
  showRow: filmstrip(album, (entry) => row.show(entry)),
  showPrompts: promptsPanel(byId("prompts"), {
    select: (id) => page.history.replace(State.activate(page.state, page.state.active === id ? null : id)),
    threshold: (id, threshold) => page.history.push(State.change(page.state, id, { threshold }), `threshold ${id}`),
    rename: (id, name) => page.rename(id, name),
    named: () => stage.canvas.focus({ preventScroll: true }),
    hide: (id) => page.history.push(State.change(page.state, id, { hidden: !State.promptOf(page.state, id).hidden })),
    remove: (id) => page.history.push(State.removePrompt(page.state, id)),
  }),
  showInstances: instancesPanel(byId("instances"), {
    hover: (key) => page.hover(key),
    select: (key) => page.select(key),
    hide: (key) => page.toggleInstance(key),
    remove: (instance) => page.removeInstance(instance),
  }),
});

function toggleConcept(text) {
  const concept = State.conceptOf(page.state, text);
  if (concept) page.history.push(State.removePrompt(page.state, concept.id));
  else page.addConcepts([text]);
}

function showSnippet(image, state) {
  if (byId("panel-code").hidden) return;
  const ready = image && state.prompts.some((prompt) => !prompt.hidden);
  const origin = location.origin + root;
  const what = { origin, keys: keys === "asked", model: chosenModel(), image, prompts: state.prompts, distinct: page.distinct };
  setText(byId("code"), ready ? snippet(what) : "Ask for something: the request appears here.");
  byId("copy").disabled = !ready;
}

// --- images, errors ---------------------------------------------------------------------------------------------

function showStage(isAnother, isNew) {
  if (isAnother) {
    stage.scene.image = page.image;
    stage.fit();
  }
  picker.hide();
  const { activeElement } = document;
  if (byId("row").contains(activeElement) || (activeElement === byId("concept") && activeElement.value)) return;
  // On a phone the keyboard would cover the image. In the row, its keys go on working.
  const types = isNew && matchMedia("(hover: hover)").matches && !page.state.prompts.length;
  (types ? byId("concept") : stage.canvas).focus({ preventScroll: true });
}

/** Show a request's error, and its repetition where that can help. */
function explain(error, again = () => page.retry()) {
  if (error.status === 401) return askForKey(again);
  const text = error.status === 413 ? `Too large: ${error.message}` : error.message;
  notify(text, (error.mayPass ?? true) ? { label: "Try again", run: again } : {});
}

let afterKey = () => page.retry();

function askForKey(then, told = "") {
  afterKey = then;
  const asked = apiKey() ? "The server does not accept this API key." : "This server asks for an API key.";
  notify(`${told} ${asked}`.trim(), { label: "Enter key", run: showKeyDialog });
}

// --- images or video --------------------------------------------------------------------------------------------

const isShowingVideo = () => document.body.dataset.mode === "video";

tabs(byId("modes"), (id) => {
  const mode = id === "mode-video" ? "video" : "images";
  if (mode === document.body.dataset.mode) return;
  document.body.dataset.mode = mode;
  dismiss();
  setText(byId("drop-hint"), mode === "video" ? "Drop a video, or its frames" : "Drop the images");
  if (mode === "images") videos.leave();
});
addEventListener("pagehide", () => videos.leave());

/** True if what was dropped or pasted is for the video tab. A video brings the tab to the front. */
function takenAsVideo(transfer) {
  const files = [...(transfer?.files ?? [])];
  if (video === "on" && !isShowingVideo() && files.some(isVideo)) byId("mode-video").click();
  if (!isShowingVideo()) return false;
  if (files.length) videos.open(files);
  return true;
}

// --- the stage --------------------------------------------------------------------------------------------------

const tooltip = byId("tooltip");

const cancelGesture = listenToPointers(stage, () => Boolean(TOOLS[page.tool].draws), {
  tap: (point, options) => {
    page.cursor = null;
    page.tap(point, options);
  },
  drag: (from, to) => page.drag(from, to, stage.view.scale),
  dragEnd: (from, to) => page.dragEnd(from, to, stage.view.scale),
  cancel: () => page.cancel(),
  moved: () => schedule(),
  hover: (point, at) => {
    const instance = point && page.instanceUnder(point);
    page.hover(instance?.key ?? null);
    tooltip.hidden = !instance;
    if (!instance) return;
    setText(tooltip, `${instance.label} · ${instance.score.toFixed(2)} · ${instance.area.toLocaleString("en")} px`);
    tooltip.style.transform = `translate(${Math.min(at.x + 14, stage.size.width - tooltip.offsetWidth - 4)}px, ${Math.max(at.y - 34, 4)}px)`;
  },
});
listenToCursor(stage, page, {
  under: (point) => page.instanceUnder(point),
  tell: (instance) => (instance ? `${instance.label}, ${instance.score.toFixed(2)}` : "nothing found here"),
  moved: () => schedule(),
  left: () => view.schedulePointed(),
});

function zoom(factor) {
  if (!page.image) return;
  stage.view = zoomAt(stage.view, factor, stage.size.width / 2, stage.size.height / 2, page.image);
  schedule();
}

function fit() {
  stage.fit();
  schedule();
}

function showActualSize() {
  if (page.image) stage.view = actualSize(page.image, stage.size);
  schedule();
}

function toggleMasks() {
  page.showMasks = !page.showMasks;
  schedule();
}

// --- buttons, keys, dialogs -------------------------------------------------------------------------------------

const clicks = {
  undo: () => page.undo(),
  redo: () => page.redo(),
  "zoom-in": () => zoom(1.25),
  "zoom-out": () => zoom(0.8),
  fit,
  masks: toggleMasks,
  "new-object": () => page.newObject(),
  previous: () => row.step(-1),
  next: () => row.step(1),
  "take-out": () => row.takeOut(),
  classes: showClassesDialog,
  theme: () => globalThis.toggleTheme(),
  open: () => picker.show(Boolean(page.image)),
  "picker-close": () => picker.hide(),
  key: showKeyDialog,
  help: () => byId("help-dialog").showModal(),
  copy: copyCode,
  "export-coco": () => save("coco.json", () => coco([{ image: page.image, instances: page.exported }])),
  "export-masks": () => save("masks.zip", () => masksOf(page.exported)),
  "export-overlay": () => save("overlay.png", () => overlayOf(page.image, page.exported)),
  "export-row": () => row.whileBusy(saveRow),
};
for (const [id, run] of Object.entries(clicks)) byId(id).addEventListener("click", run);
for (const button of byId("tools").querySelectorAll("[data-tool]")) {
  button.addEventListener("click", () => page.chooseTool(button.dataset.tool));
}

async function copyCode() {
  try {
    await navigator.clipboard.writeText(byId("code").textContent);
  } catch {
    // Only https and localhost have a clipboard.
    getSelection().selectAllChildren(byId("code"));
    document.execCommand("copy");
  }
  announce("Copied.");
  setText(byId("copy-label"), "Copied");
  setTimeout(() => setText(byId("copy-label"), "Copy"), 1500);
}

function coco(findings) {
  return cocoOf(findings, chosenModel() || model, byId("segmentation").value);
}

/** Save one COCO file of all images of the row. */
async function saveRow() {
  byId("export-row").disabled = true;
  try {
    const entries = [...album.entries];
    const works = await Promise.all(entries.map(async (entry) => ({ entry, state: await stateOf(entry) })));
    const findings = await findingsOf(works, new Client(root, apiKey, chosenModel), page.distinct, ({ name }, number, of) => {
      notify(`Collecting image ${number} of ${of}: ${name}`, { kind: "hint" });
    });
    const without = entries.length - findings.length;
    if (!findings.length) return notify("Nothing was asked on these images yet: there is nothing to export.", { kind: "hint" });
    download(coco(findings), "images_coco.json");
    notify(
      `Saved ${count(findings.length, "image")} with ${count(findings.flatMap(({ instances }) => instances).length, "instance")}.` +
        (without ? ` ${count(without, "image")} without prompts ${without === 1 ? "was" : "were"} left out.` : ""),
      { kind: "hint" },
    );
    schedule();
  } catch (error) {
    if (error.status === 401) askForKey(() => row.whileBusy(saveRow));
    else notify(`Nothing was saved. ${error.message}`, { label: "Try again", run: () => row.whileBusy(saveRow) });
  } finally {
    byId("export-row").disabled = false;
  }
}

/** The state of the work on an image of the row. */
async function stateOf(entry) {
  if (entry.digest === page.image?.digest) return page.state;
  return (await store.work(entry.digest))?.value ?? State.EMPTY;
}

function count(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

async function save(suffix, make) {
  try {
    download(await make(), `${page.image.name.replace(/\.\w+$/, "")}_${suffix}`);
    announce(`Saved ${suffix}.`);
    schedule();
  } catch (error) {
    notify(error.message);
  }
}

byId("concept-form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (page.addConcepts(byId("concept").value.split(","))) byId("concept").value = "";
});

function showKeyDialog() {
  byId("key-input").value = apiKey();
  byId("key-dialog").showModal();
}
byId("key-dialog").addEventListener("close", () => {
  if (byId("key-dialog").returnValue !== "use") return;
  setApiKey(byId("key-input").value.trim());
  dismiss();
  byId("key-input").value = "";
  showModels();
  const then = afterKey;
  afterKey = () => page.retry();
  then();
});

byId("distinct").addEventListener("change", () => {
  page.distinct = byId("distinct").checked;
  setPreference("distinct", page.distinct);
});
page.distinct = preference("distinct", false);
byId("segmentation").addEventListener("change", () => setPreference("segmentation", byId("segmentation").value));
byId("segmentation").value = preference("segmentation", "polygons");

function showClassesDialog() {
  byId("classes-input").value = classesWith(page.exported.map(({ category }) => category)).join("\n");
  byId("classes-dialog").showModal();
}
byId("classes-dialog").addEventListener("close", () => {
  if (byId("classes-dialog").returnValue === "use") setClasses(byId("classes-input").value.split("\n"));
  schedule();
});
byId("help-dialog").addEventListener("close", () => {
  if (byId("help-dialog").returnValue === "forget") byId("forget-dialog").showModal();
});
byId("forget-dialog").addEventListener("close", async () => {
  if (byId("forget-dialog").returnValue !== "forget") return;
  await store.clear();
  location.reload();
});

const keysOfImages = {
  ...Object.fromEntries(Object.entries(TOOLS).map(([tool, { key }]) => [key, () => page.chooseTool(tool)])),
  "ctrl+z": () => page.undo(),
  "ctrl+shift+z": () => page.redo(),
  "ctrl+y": () => page.redo(),
  n: () => page.newObject(),
  m: toggleMasks,
  h: () => page.selected && page.toggleInstance(page.selected),
  "[": () => row.step(-1),
  "]": () => row.step(1),
  delete: () => page.removeSelected(),
  backspace: () => page.removeSelected(),
  escape: () => {
    cancelGesture();
    if (page.image) picker.hide();
    page.cancel();
  },
  "/": () => byId("concept").focus(),
  "?": () => byId("help-dialog").showModal(),
  o: () => picker.show(Boolean(page.image)),
  "+": () => zoom(1.25),
  "=": () => zoom(1.25),
  "-": () => zoom(0.8),
  0: fit,
  1: showActualSize,
};
const keysOfVideos = { ...videos.keys, "?": keysOfImages["?"] };
listenToShortcuts(() => (isShowingVideo() ? keysOfVideos : keysOfImages));
listenToEscape((field) => {
  const row = field.closest(".prompt");
  if (row) field.value = field.dataset.name ?? field.value;
  field.blur();
  (isShowingVideo() ? videos : stage).canvas.focus({ preventScroll: true });
});
roam(byId("tools"));
listenToScrolling(byId("tools"), byId("tools-before"), byId("tools-after"));
tabs(byId("tabs"), schedule);
tabs(byId("languages"), (id) => {
  snippet = id === "language-python" ? python : curl;
  schedule();
});
listenToNotice();

/** Fill the chooser of the model. Without a key, or an answer, the default model goes on answering. */
async function showModels() {
  if (models !== "several" || (keys === "asked" && !apiKey())) return;
  try {
    chooseFrom(await client.models(), byId("model-choice"), () => page.askAgain());
    byId("one-model").hidden = true;
    byId("models").hidden = false;
  } catch (error) {
    if (error.status !== 401) notify(error.message);
  }
}
showModels();
if (keys === "asked" && !apiKey()) notify("This server asks for an API key.", { label: "Enter key", run: showKeyDialog, kind: "hint" });
row.restore();
