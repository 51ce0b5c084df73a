/** The page's model: the state and the answers as they are shown, and the actions on them. */

import { Answers } from "./answers.js";
import { History } from "./history.js";
import { load } from "./images.js";
import { instanceAt, instancesOf, means, nameOf } from "./instances.js";
import { announce, dismiss, dismissHint, notify } from "./notice.js";
import { markAt } from "./stage.js";
import * as State from "./state.js";
import { boxBetween, isInside, round, TOOLS } from "./tools.js";
import { COLOURS } from "./state.js";

const LEAST_BOX = 3; // screen pixels
const REACH = 12; // screen pixels

export class Page {
  /** @type {import("./images.js").LoadedImage | null} */
  image = null;
  history = new History(State.EMPTY);
  tool = "point";
  hovered = null;
  selected = null;
  selectedMark = null;
  drawing = null;
  cursor = null;
  corner = null;
  showMasks = true;
  /** Since when an image is loaded (performance.now()); 0 when none is. */
  loading = 0;
  #distinct = false;
  #shown = { of: [], instances: [] };
  #openings = 0;
  #last = new Map();
  #told = new Set();
  #stored = false;

  /**
   * on.changed(): called when the page must be drawn again; on.pointed(): when only the highlighted instance, the
   * cursor or a box in the making did; on.error(error): when a request failed.
   * @param {import("./store.js").Store} store
   */
  constructor(client, store, on) {
    this.client = client;
    this.store = store;
    this.on = on;
    this.answers = new Answers(client, (error) => {
      if (error) on.error(error);
      this.#tell();
      on.changed();
    });
    this.history.subscribe(() => {
      this.answers.want(this.state.prompts);
      this.#keep();
      on.changed();
    });
  }

  /** @returns {import("./state.js").State} */
  get state() {
    return this.history.value;
  }

  /** True while instances of concepts that cover surer ones are left out. */
  get distinct() {
    return this.#distinct;
  }

  set distinct(value) {
    this.#distinct = value;
    this.on.changed();
  }

  /** The found instances that are not deleted; the same list until an answer or the state changes. */
  get instances() {
    if (!this.image) return [];
    const of = [this.state, this.answers.version, this.#distinct, ...this.state.prompts.map((prompt) => this.answers.isAsked(prompt))];
    if (of.length !== this.#shown.of.length || of.some((one, index) => one !== this.#shown.of[index])) {
      this.#shown = { of, instances: instancesOf(this.state, (prompt) => this.answerTo(prompt), this.#distinct) };
    }
    return this.#shown.instances;
  }

  get exported() {
    return this.instances.filter((instance) => !instance.hidden);
  }

  /**
   * Show an image of the row with the work kept on it, unless another is opened meanwhile.
   * entry: a promise of the image. Rejects with a message when it cannot be loaded.
   */
  async open(promised) {
    const opening = ++this.#openings;
    this.loading = performance.now();
    dismiss();
    this.on.changed();
    try {
      const entry = await promised;
      const image = entry.digest === this.image?.digest ? this.image : await load(entry, this.client);
      const work = await this.store.work(entry.digest);
      if (opening !== this.#openings) return false;
      announce(`${image.name}, ${image.width} by ${image.height} pixels.`);
      if (image === this.image) return true;
      this.#show(image, work);
      return true;
    } finally {
      if (opening === this.#openings) this.loading = 0;
      this.on.changed();
    }
  }

  #show(image, work) {
    this.image = image;
    this.hovered = this.selected = this.selectedMark = this.cursor = this.corner = this.drawing = null;
    this.#last.clear();
    this.#told.clear();
    this.answers.setImage(image);
    this.#stored = Boolean(work);
    this.history.restore(work ?? { value: State.forNextImage(this.state) });
  }

  /** Another model answers from now on: the work stays, and is asked again. */
  askAgain() {
    this.#last.clear();
    this.#told.clear();
    this.answers.setImage(this.image);
    this.answers.want(this.state.prompts);
    this.on.changed();
  }

  /** Show no image: the last one was taken out of the row. */
  close() {
    this.#openings++;
    this.loading = 0;
    this.image = null;
    this.answers.setImage(null);
    this.#stored = false;
    this.history.restore({ value: State.forNextImage(this.state) });
  }

  /** Keep the work on the image, once there is some. */
  #keep() {
    if (!this.image || !(this.#stored || this.state.prompts.length)) return;
    this.#stored = true;
    this.store.keepWork(this.image.digest, this.history.snapshot());
  }

  retry() {
    this.answers.retry();
    this.answers.want(this.state.prompts);
    this.on.changed();
  }

  /** Add any number of concepts as one step and one request. */
  addConcepts(texts) {
    const words = texts.map((text) => text.trim().replace(/\s+/g, " ")).filter(Boolean);
    const state = words.reduce(State.addConcept, this.state);
    if (state.prompts.filter((prompt) => prompt.kind === "concept").length > State.MOST_CONCEPTS) {
      notify(`At most ${State.MOST_CONCEPTS} concepts at once: remove one first.`, { kind: "hint" });
      return false;
    }
    this.history.push(state);
    return true;
  }

  chooseTool(tool) {
    this.tool = tool;
    this.corner = this.drawing = null;
    announce(TOOLS[tool].hint);
    this.on.changed();
  }

  newObject() {
    this.history.replace(State.activate(this.state, null));
    announce("The next click begins a new object.");
  }

  /** A click, or Enter at the keyboard's cursor. */
  tap(point, { negative }) {
    if (!this.image || !isInside(point, this.image)) return;
    if (TOOLS[this.tool].draws) return;
    if (this.tool === "select") return this.#select(point);
    const positive = !(negative || this.tool === "minus");
    const active = State.promptOf(this.state, this.state.active);
    if (!positive && active?.kind !== "object") {
      notify("Click on the object first, then on the area to remove from it.", { kind: "hint" });
      return;
    }
    dismissHint();
    this.history.push(State.addPoint(this.state, { x: round(point.x), y: round(point.y), positive }));
  }

  drag(from, to, scale) {
    const box = boxBetween(from, to, this.image, LEAST_BOX / scale);
    this.drawing = box && { box, colour: { like: "#2fd07a", unlike: "#ff5468" }[this.tool] ?? COLOURS[0] };
    this.on.pointed();
  }

  dragEnd(from, to, scale) {
    const box = boxBetween(from, to, this.image, LEAST_BOX / scale);
    this.drawing = this.corner = null;
    this.on.changed();
    if (!box) return;
    if (this.tool === "box") return this.history.push(State.addBox(this.state, box));
    const like = this.tool === "like";
    if (!like && State.promptOf(this.state, this.state.active)?.kind !== "concept") {
      notify("Select a concept first: this box shows what to leave out of it.", { kind: "hint" });
      return;
    }
    dismissHint();
    this.history.push(State.addExample(this.state, box, like));
  }

  /** Enter at the keyboard's cursor: a click, or with a drawing tool one of the box's two corners. */
  act(point, { negative }, scale) {
    if (!TOOLS[this.tool].draws) return this.tap(point, { negative });
    if (this.corner) return this.dragEnd(this.corner, point, scale);
    this.corner = point;
    announce("First corner. Move to the opposite one and press Enter.");
  }

  /** Give a prompt the class to export it as. */
  rename(id, name) {
    this.history.push(State.rename(this.state, id, name));
  }

  cancel() {
    this.drawing = this.corner = this.selected = this.selectedMark = null;
    this.on.changed();
  }

  hover(key) {
    if (key === this.hovered) return;
    this.hovered = key;
    this.on.pointed();
  }

  select(key) {
    this.selected = this.selected === key ? null : key;
    this.selectedMark = null;
    this.on.changed();
  }

  instanceUnder(point) {
    return this.showMasks ? instanceAt(this.instances, point.x, point.y) : null;
  }

  /** Hide a shown instance, show a hidden one. */
  toggleInstance(key) {
    const instance = this.instances.find((one) => one.key === key);
    if (!instance) return;
    if (instance.prompt.hidden) return this.history.push(State.change(this.state, instance.prompt.id, { hidden: false }));
    this.history.push(
      instance.hidden
        ? State.showInstance(this.state, (mark) => means(mark, instance))
        : State.hideInstance(this.state, instance),
    );
  }

  removeInstance(instance) {
    announce(`${instance.label} deleted.`);
    this.history.push(State.removeInstance(this.state, instance));
  }

  removeSelected() {
    const instance = this.instances.find(({ key }) => key === this.selected);
    if (this.selectedMark) this.history.push(State.removeMark(this.state, this.selectedMark));
    else if (instance) this.removeInstance(instance);
    this.selected = this.selectedMark = null;
    this.on.changed();
  }

  undo() {
    this.history.undo();
    announce("Undone.");
  }

  redo() {
    this.history.redo();
    announce("Done again.");
  }

  #select(point) {
    this.selectedMark = markAt(this.state.prompts, point.x, point.y, REACH / this.scale());
    const instance = this.selectedMark ? null : instanceAt(this.instances, point.x, point.y);
    this.selected = instance?.key ?? null;
    if (instance) announce(`${instance.label} selected.`);
    if (this.selectedMark) this.history.replace(State.activate(this.state, this.selectedMark.id));
    this.on.changed();
  }

  /** Screen pixels per image pixel; the stage's owner sets it. */
  scale = () => 1;

  /** The answer to show for a prompt. After a change, the last answer stays until the new one arrives. */
  answerTo(prompt) {
    const answer = this.answers.answerTo(prompt);
    if (answer) this.#last.set(prompt.id, answer);
    return answer ?? (this.answers.isAsked(prompt) ? this.#last.get(prompt.id) : undefined);
  }

  /** Announce each new answer once to screen readers. */
  #tell() {
    const instances = this.instances;
    const news = [];
    for (const prompt of this.state.prompts) {
      const answer = this.answers.answerTo(prompt);
      if (!answer || this.#told.has(answer.serial)) continue;
      this.#told.add(answer.serial);
      const own = instances.filter((instance) => instance.prompt.id === prompt.id);
      news.push(prompt.kind === "concept" ? `${nameOf(prompt)}: ${own.length} found` : confidenceOf(prompt, own));
    }
    if (news.length) announce(`${news.join(". ")}.`);
  }
}

function confidenceOf(prompt, [instance]) {
  return instance ? `${nameOf(prompt)}: confidence ${instance.score.toFixed(2)}` : `${nameOf(prompt)}: nothing found`;
}
