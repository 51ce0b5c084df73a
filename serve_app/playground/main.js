/** Builds the page: connects the parts of the document with the state, and events with actions. */

import { Client } from "./client.js";
import { byId, element, setText } from "./dom.js";
import { cocoOf, download, masksOf, overlayOf } from "./exports.js";
import { listenToCursor, listenToShortcuts, roam } from "./keyboard.js";
import { announce, dismiss, listenToNotice, notify } from "./notice.js";
import { Page } from "./page.js";
import { instancesPanel } from "./panel_instances.js";
import { promptsPanel } from "./panel_prompts.js";
import { summary, timingPanel } from "./panel_timing.js";
import { imagePicker } from "./picker.js";
import { listenToPointers } from "./pointer.js";
import { SUGGESTIONS } from "./samples.js";
import { apiKey, setApiKey } from "./session.js";
import { curl, python } from "./snippets.js";
import { Stage } from "./stage.js";
import * as State from "./state.js";
import { tabs } from "./tabs.js";
import { TOOLS } from "./tools.js";
import { actualSize, zoomAt } from "./viewport.js";

const { root, assets, model, keys } = document.documentElement.dataset;
const showTiming = timingPanel(byId("timing-latest"), byId("timing-rows"));
const client = new Client(root, apiKey, (timing) => {
  showTiming(timing);
  setText(byId("status-timing"), summary(timing));
});
const stage = new Stage(byId("stage"), () => schedule());
const page = new Page(client, () => schedule(), explain);
page.scale = () => stage.view.scale;
const picker = imagePicker(assets, open);
let snippet = curl;
let scheduled = false;

// --- what is shown ----------------------------------------------------------------------------------------------

const showPrompts = promptsPanel(byId("prompts"), {
  select: (id) => page.history.replace(State.activate(page.state, page.state.active === id ? null : id)),
  threshold: (id, threshold) => page.history.push(State.change(page.state, id, { threshold }), `threshold ${id}`),
  hide: (id) => page.history.push(State.change(page.state, id, { hidden: !State.promptOf(page.state, id).hidden })),
  remove: (id) => page.history.push(State.removePrompt(page.state, id)),
});
const showInstances = instancesPanel(byId("instances"), {
  hover: (key) => page.hover(key),
  select: (key) => page.select(key),
  hide: (key) => page.hideInstance(key),
  remove: (instance) => page.removeInstance(instance),
});

function schedule() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    render();
  });
}

function render() {
  const { state, image } = page;
  const instances = page.instances;
  const highlighted = page.hovered ?? page.selected;
  Object.assign(stage.scene, {
    image, instances, highlighted, prompts: state.prompts, active: state.active, drawing: page.drawing,
    cursor: page.cursor, selectedMark: page.selectedMark, showMasks: page.showMasks,
  });
  stage.redraw();
  showPrompts(
    state.prompts.map((prompt) => ({
      prompt,
      count: instances.filter((instance) => instance.prompt.id === prompt.id).length,
      asked: page.answers.isAsked(prompt),
      active: prompt.id === state.active,
    })),
  );
  showInstances(instances, highlighted);
  const shown = instances.filter((instance) => !instance.hidden).length;
  setText(byId("instance-count"), instances.length ? String(instances.length) : "");
  byId("no-prompts").hidden = state.prompts.length > 0;
  byId("no-instances").hidden = instances.length > 0;
  for (const button of byId("export").querySelectorAll("button")) button.disabled = shown === 0;
  byId("undo").disabled = !page.history.canUndo;
  byId("redo").disabled = !page.history.canRedo;
  for (const button of document.querySelectorAll("[data-tool]")) {
    button.setAttribute("aria-pressed", String(button.dataset.tool === page.tool));
  }
  byId("masks").setAttribute("aria-pressed", String(page.showMasks));
  const busy = page.loading || page.answers.busy;
  document.body.classList.toggle("busy", busy);
  stage.canvas.dataset.tool = page.tool;
  // For tests and scripts that drive the page.
  document.body.dataset.state = busy ? "busy" : "idle";
  stage.canvas.dataset.view = JSON.stringify(stage.view);
  showSuggestions(image, state);
  showStatus(image);
  showSnippet(image, state);
}

/** The concepts in a sample: for each a button that adds the concept, or removes it again. */
function showSuggestions(image, state) {
  const texts = SUGGESTIONS[image?.sample] ?? [];
  const list = byId("suggestions");
  if (list.dataset.shown !== texts.join()) {
    list.dataset.shown = texts.join();
    const hint = element("p", { class: "hint" }, "Several at once: separate them with commas.");
    list.replaceChildren(
      ...texts.map((text) => element("button", { type: "button", class: "suggestion", click: () => toggleConcept(text) }, text)),
      ...(texts.length ? [] : [hint]),
    );
  }
  for (const button of list.querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(Boolean(conceptOf(state, button.textContent))));
  }
}

function toggleConcept(text) {
  const concept = conceptOf(page.state, text);
  if (concept) page.history.push(State.removePrompt(page.state, concept.id));
  else page.addConcepts([text]);
}

function conceptOf(state, text) {
  return state.prompts.find((prompt) => prompt.kind === "concept" && prompt.text === text);
}

function showStatus(image) {
  const hint = image ? TOOLS[page.tool].hint : "Open an image to begin.";
  setText(byId("status-hint"), page.corner ? "Move to the opposite corner and press Enter." : hint);
  setText(byId("zoom"), image ? `${Math.round(stage.view.scale * (globalThis.devicePixelRatio || 1) * 100)} %` : "–");
}

function showSnippet(image, state) {
  if (byId("panel-code").hidden) return;
  const ready = image && state.prompts.some((prompt) => !prompt.hidden);
  const origin = location.origin + root;
  const what = { origin, keys: keys === "asked", image, prompts: state.prompts };
  setText(byId("code"), ready ? snippet(what) : "Ask for something: the request appears here.");
  byId("copy").disabled = !ready;
}

// --- images, errors ---------------------------------------------------------------------------------------------

async function open(promised) {
  try {
    if (!(await page.open(promised))) return;
  } catch (error) {
    return notify(error.message);
  }
  picker.hide();
  stage.scene.image = page.image;
  stage.fit();
  // On a phone the keyboard would cover the image.
  const types = matchMedia("(hover: hover)").matches && !page.state.prompts.length;
  (types ? byId("concept") : stage.canvas).focus({ preventScroll: true });
}

/** Show a request's error, and an action if there is one. */
function explain(error) {
  if (error.status === 401) {
    return notify(apiKey() ? "The server does not accept this API key." : "This server asks for an API key.", {
      label: "Enter key", run: showKeyDialog,
    });
  }
  const text = error.status === 413 ? `Too large: ${error.message}` : error.message;
  notify(text, { label: "Try again", run: () => page.retry() });
}

// --- the stage --------------------------------------------------------------------------------------------------

const tooltip = byId("tooltip");

listenToPointers(stage, () => Boolean(TOOLS[page.tool].draws), {
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
let telling = 0;
listenToCursor(stage, {
  move: (cursor) => {
    page.cursor = cursor;
    if (page.corner) page.drag(page.corner, cursor, stage.view.scale);
    const instance = page.instanceUnder(cursor);
    page.hover(instance?.key ?? null);
    clearTimeout(telling);
    telling = setTimeout(() => {
      const over = instance ? `${instance.label}, ${instance.score.toFixed(2)}` : "nothing found here";
      announce(`x ${Math.round(cursor.x)}, y ${Math.round(cursor.y)}: ${over}`);
    }, 250);
    schedule();
  },
  act: (point, options) => {
    clearTimeout(telling); // the result is announced, not this
    page.act(point, options, stage.view.scale);
  },
  leave: () => {
    page.cursor = null;
    schedule();
  },
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
  theme: () => globalThis.toggleTheme(),
  open: () => picker.show(Boolean(page.image)),
  "picker-close": () => picker.hide(),
  key: showKeyDialog,
  help: () => byId("help-dialog").showModal(),
  copy: copyCode,
  "export-coco": () => save("coco.json", () => new Blob([JSON.stringify(cocoOf(page.image, page.exported, model), null, 1)], { type: "application/json" })),
  "export-masks": () => save("masks.zip", () => masksOf(page.exported)),
  "export-overlay": () => save("overlay.png", () => overlayOf(page.image, page.exported)),
};
for (const [id, run] of Object.entries(clicks)) byId(id).addEventListener("click", run);
for (const button of document.querySelectorAll("[data-tool]")) {
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

async function save(suffix, make) {
  try {
    download(await make(), `${page.image.name.replace(/\.\w+$/, "")}_${suffix}`);
    announce(`Saved ${suffix}.`);
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
  page.retry();
});

listenToShortcuts({
  ...Object.fromEntries(Object.entries(TOOLS).map(([tool, { key }]) => [key, () => page.chooseTool(tool)])),
  "ctrl+z": () => page.undo(),
  "ctrl+shift+z": () => page.redo(),
  "ctrl+y": () => page.redo(),
  n: () => page.newObject(),
  m: toggleMasks,
  h: () => page.selected && page.hideInstance(page.selected),
  delete: () => page.removeSelected(),
  backspace: () => page.removeSelected(),
  escape: () => {
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
});
roam(byId("tools"));
tabs(byId("tabs"), schedule);
tabs(byId("languages"), (id) => {
  snippet = id === "language-python" ? python : curl;
  schedule();
});
listenToNotice();
if (keys === "asked" && !apiKey()) notify("This server asks for an API key.", { label: "Enter key", run: showKeyDialog, kind: "hint" });
schedule();
