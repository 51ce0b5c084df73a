/** The video tab's model: the work on a video, the frame that is shown, and the actions on both. */

import { History } from "./history.js";
import { instanceAt } from "./instances.js";
import { announce, dismiss, notify } from "./notice.js";
import { boxBetween, isInside, round } from "./tools.js";
import { Follower } from "./video_follower.js";
import { FileSession, PicturesSession } from "./video_session.js";
import { Film, Pictures } from "./video_source.js";
import * as Video from "./video_state.js";

const LEAST_BOX = 3; // screen pixels

export class VideoPage {
  /** @type {Film | Pictures | null} */
  source = null;
  history = new History(Video.NOTHING);
  /** The frame that the user looks at, and the one whose picture is on the stage: pictures come later. */
  frame = 0;
  image = null;
  pictured = 0;
  tool = "point";
  hovered = null;
  drawing = null;
  cursor = null;
  corner = null;
  showMasks = true;
  /** Frames from one search for the texts to the next. */
  every = 10;
  /** "": nothing is waited for; "opening", "asking", "tracking". */
  doing = "";
  since = 0;
  #running = Promise.resolve();
  #stop = null;
  #watching = false;
  #openings = 0;

  /** on.changed(), on.pointed(): as in page.js. on.opened(): when a video is. on.error(error, again): when a request failed. */
  constructor(client, on) {
    this.client = client;
    this.on = on;
    this.follower = new Follower(
      this.history,
      (signal) => this.#begin(this.source, signal),
      { answered: (frame) => this.#answered(frame) },
    );
    this.history.subscribe(() => on.changed());
  }

  /** @returns {import("./video_state.js").VideoState} */
  get state() {
    return this.history.value;
  }

  /** What was found in the frame on the stage. */
  get instances() {
    return this.image ? Video.instancesIn(this.state, this.pictured) : [];
  }

  get marks() {
    return this.image ? Video.marksIn(this.state, this.pictured) : [];
  }

  get last() {
    return this.source ? this.source.count - 1 : 0;
  }

  // --- opening, leaving -----------------------------------------------------------------------------------------

  /** Open a video file, or images as its frames; unless others are opened meanwhile. */
  async open(files) {
    const opening = ++this.#openings;
    if (this.doing === "opening") this.#stop.abort();
    await this.stop();
    if (opening !== this.#openings) return;
    await this.#run("opening", (signal) => this.#opened(files, signal), () => this.open(files));
  }

  async #opened(files, signal) {
    await this.follower.drop();
    const video = files.find(isVideo) ?? (files.length === 1 ? files.find(isGif) : null);
    const source = video ? new Film(video) : new Pictures(files, this.client);
    // It is not cut off: the server may have begun it, and it can only be ended by its name.
    const begun = video ? this.#begin(source, new AbortController().signal) : null;
    let session = null;
    try {
      if (begun) {
        session = await unlessAborted(signal, begun).catch((error) => {
          throw Object.assign(error, { message: `${source.name}: ${error.message}` });
        });
        await unlessAborted(signal, source.learn(session.facts));
      }
      const first = await unlessAborted(signal, pictureOf(source, 0));
      this.close();
      this.source = source;
      if (session) this.follower.take(session);
      this.#show(0, first);
    } finally {
      if (this.source !== source) {
        begun?.then((unused) => unused.end(), () => {});
        source.close();
      }
    }
    dismiss();
    this.on.opened();
    if (!source.canShow) notify(NO_PICTURES, { kind: "hint" });
    else if (video && files.length > 1) notify(`Of several files only ${source.name} was opened.`, { kind: "hint" });
    announce(`${source.name}, ${source.count} frames.`);
  }

  /** Forget the video and the work on it. */
  close() {
    this.follower.drop();
    this.source?.close();
    this.source = this.image = null;
    this.frame = this.pictured = 0;
    this.hovered = this.cursor = this.corner = this.drawing = null;
    this.history.restore({ value: Video.NOTHING });
  }

  /** The tab is left: the server's session ends. The work stays, and goes on in another session. */
  leave() {
    if (this.doing === "opening") this.#running.then(() => this.follower.drop());
    else this.#stop?.abort();
    this.follower.drop();
  }

  // --- frames ---------------------------------------------------------------------------------------------------

  /** Look at a frame. While objects are followed, the page shows each new one until the user looks elsewhere. */
  look(frame) {
    this.#watching = false;
    return this.#go(frame);
  }

  async #go(frame) {
    if (!this.source) return;
    const to = Math.min(Math.max(frame, 0), this.last);
    this.frame = to;
    this.on.changed();
    const { source } = this;
    try {
      const picture = await pictureOf(source, to);
      if (picture && source === this.source) this.#show(to, picture);
    } catch (error) {
      if (source !== this.source || to !== this.frame) return;
      this.#show(to, plain(this.image));
      notify(error.message);
    }
  }

  #show(frame, picture) {
    this.pictured = frame;
    this.image = picture;
    this.hovered = null;
    this.on.changed();
  }

  #answered(frame) {
    this.source.count = Math.max(this.source.count, frame + 1);
    if (this.doing === "tracking" && this.#watching) this.#go(frame);
  }

  // --- prompts --------------------------------------------------------------------------------------------------

  tap(point, { negative }) {
    if (!this.image || !isInside(point, this.image)) return;
    const remove = negative || this.tool === "minus";
    const under = remove && this.state.active === null ? this.under(point)?.key : null;
    const clicked = { x: round(point.x), y: round(point.y), positive: !remove };
    // By the state of its turn: a click that comes before the answer to the one before goes to the same object.
    this.#showObject((state) => {
      const target = Video.objectOf(state, under ?? state.active);
      if (remove && !target) notify("Click on an object first: its area can then be removed.", { kind: "hint" });
      return target || !remove ? { target, patch: (shown) => ({ points: [...shown.points, clicked] }) } : null;
    });
  }

  /** Enter at the keyboard's cursor. */
  act(point, { negative }, scale) {
    if (this.tool !== "box") return this.tap(point, { negative });
    if (this.corner) return this.dragEnd(this.corner, point, scale);
    this.corner = point;
    announce("First corner. Move to the opposite one and press Enter.");
    this.on.changed();
  }

  drag(from, to, scale) {
    const box = boxBetween(from, to, this.image, LEAST_BOX / scale);
    this.drawing = box && { box, colour: "#ffffff" };
    this.on.pointed();
  }

  dragEnd(from, to, scale) {
    const box = boxBetween(from, to, this.image, LEAST_BOX / scale);
    this.drawing = this.corner = null;
    this.on.changed();
    if (box) this.#showObject(() => ({ target: null, patch: () => ({ box }) }));
  }

  cancel() {
    this.drawing = this.corner = null;
    this.on.changed();
  }

  /** Show an object in the frame on the stage. of(state): null for nothing; target: null for a new object. */
  #showObject(of) {
    const frame = this.pictured;
    this.#step(frame, (state) => {
      const asked = of(state);
      if (!asked) return null;
      const begun = asked.target ? state : Video.addObject(state);
      const id = asked.target?.id ?? state.next;
      return [Video.show(begun, frame, id, asked.patch(Video.shownIn(begun, frame, id))), { object: id }];
    });
  }

  /** Look for concepts from the shown frame on. */
  addTexts(texts) {
    const frame = this.pictured;
    const fresh = texts.map((text) => text.trim()).filter((text) => text && !Video.textOf(this.state, text));
    if (!this.source || !fresh.length) return false;
    if (this.state.texts.length + fresh.length > Video.MOST_TEXTS) {
      notify(`A video is searched for ${Video.MOST_TEXTS} concepts at most.`);
      return false;
    }
    for (const text of fresh) {
      this.#step(frame, (state) => [Video.addText(state, frame, text), { text }], () => {
        const found = this.state.objects.filter((one) => one.text === text).length;
        announce(`${text}: ${found} found.`);
        if (!found) notify(`No ${text} is found in this frame. It is looked for in later ones too.`, { kind: "hint" });
      });
    }
    return true;
  }

  removeText(text) {
    this.#without((state) => Video.removeText(state, text), `${text} removed.`, true);
  }

  remove(id) {
    const object = Video.objectOf(this.state, id);
    if (!object) return;
    this.#without((state) => Video.removeObject(state, id), `${Video.nameOf(object)} removed.`);
    if (this.doing !== "tracking") this.#run("asking", (signal) => this.follower.remove(id, signal).catch(() => this.follower.drop()));
  }

  #without(change, told, another = false) {
    if (another) this.stop().then(() => this.follower.drop());
    this.history.push(change(this.state));
    announce(told);
  }

  toggle(id) {
    this.history.replace(Video.change(this.state, id, { hidden: !Video.objectOf(this.state, id)?.hidden }));
  }

  select(id) {
    this.history.replace(Video.activate(this.state, this.state.active === id ? null : id));
  }

  newObject() {
    this.history.replace(Video.activate(this.state, null));
    announce("The next click begins a new object.");
  }

  /** The topmost of the shown objects at a point. */
  under(point) {
    return this.showMasks ? instanceAt(this.instances, point.x, point.y) : null;
  }

  /** How often frames are searched for the texts, from the next request on. */
  async search(every) {
    this.every = every;
    await this.stop();
    this.follower.drop(); // a session keeps its rule
  }

  hover(key) {
    if (key === this.hovered) return;
    this.hovered = key;
    this.on.pointed();
  }

  undo() {
    this.#travel(() => this.history.undo(), "Undone.");
  }

  redo() {
    this.#travel(() => this.history.redo(), "Done again.");
  }

  async #travel(step, told) {
    if (!(await this.#settled())) return;
    this.follower.drop(); // the session knows what is undone
    step();
    announce(told);
  }

  // --- requests -------------------------------------------------------------------------------------------------

  /** Follow everything from the shown frame to the end. */
  async track() {
    const { state } = this;
    const asked = Video.promptedFrames(state);
    if (!asked.length) return notify("Click on an object first, or name a concept to follow.", { kind: "hint" });
    const known = asked[0] <= this.frame;
    const from = known ? this.frame : asked[0];
    if (!(await this.#settled())) return;
    await this.#run("tracking", async (signal) => {
      this.history.push(Video.upTo(this.state, from));
      this.#watching = true;
      await this.#go(from);
      const done = await this.follower.follow(from, signal);
      if (this.source instanceof Film && done) this.source.count = Math.max(1, done.next_frame);
      if (done?.warnings?.length) notify(`The file is damaged: ${done.warnings.join("; ")}.`, { kind: "hint" });
      announce(`Followed to frame ${this.frame + 1} of ${this.source.count}.`);
    }, () => this.track());
  }

  /** Stop following; what came so far stays. Resolves when nothing is under way. */
  async stop() {
    if (this.doing === "tracking") this.#stop?.abort();
    await this.#running;
  }

  /** True once nothing is under way; false where another video is to be opened. */
  async #settled() {
    if (this.doing === "opening") {
      notify("Another video is opened: this one takes nothing new.", { kind: "hint" });
      return false;
    }
    const { source } = this;
    await this.stop();
    return source === this.source && this.doing !== "opening";
  }

  /** A step of the work, and the request for it; without an answer the step is taken back. */
  async #step(frame, change, then = () => {}) {
    if (!(await this.#settled())) return;
    await this.#run("asking", async (signal) => {
      const changed = change(this.state);
      if (!changed) return;
      const [state, only] = changed;
      this.history.push(state);
      try {
        await this.follower.ask(frame, only, signal);
      } catch (error) {
        this.history.undo();
        this.follower.drop();
        throw error;
      }
      dismiss();
      then();
    }, () => this.#step(frame, change, then));
  }

  /** Run one thing after the other. again(): repeats it after an error. */
  #run(doing, work, again) {
    const { source } = this;
    this.#running = this.#running.then(async () => {
      if (source !== this.source) return; // another video was opened
      this.#stop = new AbortController();
      this.#wait(doing);
      try {
        await work(this.#stop.signal);
      } catch (error) {
        if (!this.#stop.signal.aborted) this.on.error(error, again);
      } finally {
        this.#wait("");
      }
    });
    return this.#running;
  }

  #wait(doing) {
    this.doing = doing;
    this.since = performance.now();
    this.on.changed();
  }

  #begin(source, signal) {
    if (source instanceof Film) return FileSession.begin(this.client, source.file, this.every, signal);
    return PicturesSession.begin(this.client, source, this.every, signal);
  }
}

const NO_PICTURES =
  "This browser cannot show this file: it has no decoder for it. It is followed all the same, and masks are drawn on a plain ground.";

/** A frame's picture; a plain ground where the browser cannot show it. */
async function pictureOf(source, frame) {
  return source.canShow ? source.picture(frame) : plain(source);
}

function plain({ width, height }) {
  return { bitmap: new OffscreenCanvas(width, height), width, height };
}

/** What a promise resolves to. Rejects at once when the signal is aborted. */
function unlessAborted(signal, promise) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    promise.then(resolve, reject);
  });
}

/** True for files that only a video player opens. An animated GIF is a video for the server, and an image for browsers. */
export function isVideo({ type, name }) {
  return type.startsWith("video/") || /\.(mp4|m4v|mov|mkv|webm|avi|mpe?g|ts|flv|ogv|wmv|h26[45]|hevc)$/i.test(name);
}

/** A GIF alone is a file with frames; beside others it is one of the images. */
function isGif({ type, name }) {
  return type === "image/gif" || /\.gif$/i.test(name);
}
