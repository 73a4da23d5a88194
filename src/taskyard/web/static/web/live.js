import { tick } from "./page.js";
import { SharedStream } from "./stream.js";

// The page stays live: a stream says which tasks have changed, and a few times a second at most
// the page fetches what it shows of them. Nothing here needs a reload.
const PAUSE_MS = 250;
const SAY_MS = 5000;
const AGAIN_MS = 3000;
const RUNNING = "#task-head .state.in_progress:not(.suspended)";

// ---- the difference between what is shown and what is new, and no more than that

function patch(old, fresh) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    // What the person has opened or the scripts have said stays.
    if (!fresh.hasAttribute(name) && name !== "open" && name !== "title") old.removeAttribute(name);
  }
  const [before, after] = [[...old.childNodes], [...fresh.childNodes]];
  const alike =
    before.length === after.length &&
    before.every((node, index) => node.nodeName === after[index].nodeName && node.id === after[index].id);
  if (!alike) old.replaceChildren(...after);
  else if (old.localName === "live-time") tick(old);
  else before.forEach((node, index) => patch(node, after[index]));
}

function take(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  for (const fresh of template.content.querySelectorAll("[id]")) {
    const old = document.getElementById(fresh.id);
    if (fresh.hasAttribute("data-append")) append(old, fresh);
    else if (old && !fresh.parentElement?.closest("[id]")) patch(old, fresh);
  }
  return template.content;
}

function append(list, fresh) {
  const follows = list.scrollTop + list.clientHeight >= list.scrollHeight - 8;
  for (const line of [...fresh.children]) {
    if (!document.getElementById(line.id)) list.append(line);
  }
  if (follows) list.scrollTop = list.scrollHeight;
}

// ---- the feed

class TaskFeed extends HTMLElement {
  #changed = new Set();
  #timer = 0;
  #busy = false;
  #last = 0;
  #saidAt = -SAY_MS;
  #saying = 0;
  #toSay = "";
  #over = false;
  #stream = null;

  connectedCallback() {
    if (!this.dataset.stream) return;
    this.addEventListener("task", (event) => {
      const { id } = JSON.parse(event.detail.data);
      if (this.dataset.one && this.dataset.one !== String(id)) return;
      this.#changed.add(id);
      this.#soon();
    });
    // Something may have changed that nobody told: all that is shown is asked for.
    this.addEventListener("stream-gap", () => {
      const rows = [...this.querySelectorAll("tr.task")].map((row) => Number(row.id.slice(5)));
      for (const id of this.dataset.one ? [Number(this.dataset.one)] : rows) this.#changed.add(id);
      this.#soon();
    });
    // A window that nobody sees fetches nothing.
    document.addEventListener("visibilitychange", () => {
      if (this.#changed.size) this.#soon();
    });
    this.#stream = new SharedStream(this, this.dataset.stream, this.dataset.owner);
    // A log line is no change of the task: while it runs, they are asked for.
    if (this.dataset.one) {
      const lines = document.getElementById("task-lines");
      lines.scrollTop = lines.scrollHeight;
      const asking = setInterval(() => {
        if (this.#over) clearInterval(asking);
        else if (!document.hidden && this.querySelector(RUNNING)) this.#soon();
      }, 1500);
    }
  }

  #soon(pause = PAUSE_MS) {
    if (this.#timer || this.#busy || this.#over || document.hidden) return;
    const wait = Math.max(0, this.#last + pause - performance.now());
    this.#timer = setTimeout(() => this.#fetch(), wait);
  }

  async #fetch() {
    this.#timer = 0;
    this.#busy = true;
    this.#last = performance.now();
    const asked = [...this.#changed].slice(0, 200);
    asked.forEach((id) => this.#changed.delete(id));
    let pause = PAUSE_MS;
    try {
      const answer = await fetch(this.#address(asked), { headers: { "HX-Request": "true" } });
      if (answer.status === 401) tell();
      else if (answer.status === 404) location.reload();
      else if (!answer.ok) throw new Error(answer.status);
      else this.#show(take(await answer.text()));
    } catch {
      asked.forEach((id) => this.#changed.add(id));
      pause = AGAIN_MS;
    }
    this.#busy = false;
    if (this.#changed.size) this.#soon(pause);
  }

  #address(asked) {
    if (this.dataset.one) {
      const last = document.getElementById("task-lines").lastElementChild;
      return `${this.dataset.parts}?after=${last ? last.id.replace("line-", "") : 0}`;
    }
    const shown = asked.filter((id) => document.getElementById(`task-${id}`));
    const newest = this.dataset.newest ? `&newest=${this.dataset.newest}` : "";
    return `${this.dataset.parts}?ids=${shown.join(",")}${newest}&${this.dataset.filters}`;
  }

  #show(fresh) {
    this.#over = fresh.getElementById("task-over") !== null;
    if (this.#over) {
      // Nothing more will change: the stream is let go.
      this.dispatchEvent(new CustomEvent("over", { bubbles: true }));
      this.#stream.end();
    }
    const state = document.querySelector("#task-head .state");
    this.#say((state ?? document.getElementById("news")).textContent.trim());
  }

  // For those who listen instead of looking: what is new, and not too often.
  #say(text) {
    this.#toSay = text;
    if (!text || this.#saying) return;
    const wait = this.#over ? 0 : Math.max(0, this.#saidAt + SAY_MS - performance.now());
    this.#saying = setTimeout(() => {
      this.#saying = 0;
      this.#saidAt = performance.now();
      const announcer = this.querySelector("[data-announcer]");
      if (announcer.textContent !== this.#toSay) announcer.textContent = this.#toSay;
    }, wait);
  }
}

customElements.define("task-feed", TaskFeed);

// ---- how the connection is

let tell = () => {};

// What is known stands in fields, and what is shown follows from them, in whatever order it came.
class ConnectionState extends HTMLElement {
  #signedOut = false;
  #lost = false;
  #away = false;
  #over = false;
  #timer = 0;

  connectedCallback() {
    tell = () => this.#learn(() => (this.#signedOut = true));
    const on = (target, name, act) =>
      target.addEventListener(name, (event) => this.#learn(() => act(event)));
    on(document, "stream-open", () => (this.#lost = this.#signedOut = false));
    on(document, "stream-lost", (event) => {
      this.#lost = true;
      this.#signedOut = event.detail.status === 401;
    });
    on(document, "hints", (event) => (this.#away = event.detail.data === "away"));
    on(document, "over", () => (this.#over = true));
    on(window, "offline", () => {});
    on(window, "online", () => {});
  }

  #learn(act) {
    act();
    let state = "";
    if (this.#over) state = "";
    else if (this.#signedOut) state = "signed-out";
    else if (!navigator.onLine) state = "offline";
    else if (this.#lost) state = "reconnecting";
    else if (this.#away) state = "away";
    else if (this.dataset.state) state = "back";
    if (state !== (this.dataset.state || "")) this.#show(state);
  }

  #show(state) {
    clearTimeout(this.#timer);
    this.dataset.state = state;
    const text = this.querySelector("span");
    text.textContent = this.dataset[state.replace(/-(\w)/, (_, letter) => letter.toUpperCase())] || "";
    if (state === "signed-out") {
      const link = document.createElement("a");
      link.href = `${this.dataset.signedOutHref}?next=${encodeURIComponent(location.pathname + location.search)}`;
      link.textContent = text.textContent;
      text.replaceChildren(link);
    }
    this.hidden = !state;
    if (state === "back") this.#timer = setTimeout(() => this.#show(""), 3000);
  }
}

customElements.define("connection-state", ConnectionState);
