import { SharedStream, statusOf } from "./stream.js";
import { updateTime } from "./times.js";

// Live updates: a stream sends the ids of the tasks that have changed, and the page fetches the
// HTML of these tasks, four times a second at most.
const FETCH_INTERVAL_MS = 250;
const ANNOUNCE_INTERVAL_MS = 5000;
const RETRY_MS = 3000;
const LOG_INTERVAL_MS = 1500;
const RUNNING = "#task-head .state.in_progress:not(.suspended)";

// ---- Replace only the parts of the page that differ, so that focus and selection stay.

function patch(old, fresh) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  // page.js has fetched what it shows.
  if ("loaded" in old.dataset) return;
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    // Users set `open`, and scripts set `title`.
    if (!fresh.hasAttribute(name) && name !== "open" && name !== "title") old.removeAttribute(name);
  }
  const [before, after] = [[...old.childNodes], [...fresh.childNodes]];
  const isSameStructure =
    before.length === after.length &&
    before.every((node, index) => node.nodeName === after[index].nodeName && node.id === after[index].id);
  if (!isSameStructure) old.replaceChildren(...after);
  else if (old.localName === "live-time") updateTime(old);
  else before.forEach((node, index) => patch(node, after[index]));
}

// Patch each element of the HTML that has an id. Returns the new elements.
function applyParts(html) {
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
  const isAtEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - 8;
  for (const line of [...fresh.children]) {
    if (!document.getElementById(line.id)) list.append(line);
  }
  if (isAtEnd) list.scrollTop = list.scrollHeight;
}

// ---- <task-feed> keeps the tasks inside it current.

class TaskFeed extends HTMLElement {
  #changed = new Set();
  #timer = 0;
  #busy = false;
  #fetchedAt = 0;
  #announcedAt = -ANNOUNCE_INTERVAL_MS;
  #announceTimer = 0;
  #announcement = "";
  #ended = false;
  #stream = null;

  connectedCallback() {
    if (!this.dataset.stream) return;
    this.addEventListener("task", (event) => {
      const { id } = JSON.parse(event.detail.data);
      if (this.dataset.one && this.dataset.one !== String(id)) return;
      this.#changed.add(id);
      this.#scheduleFetch();
    });
    // Events may have been missed: fetch all tasks on the page.
    this.addEventListener("stream-gap", () => {
      const rows = [...this.querySelectorAll("tr.task")].map((row) => Number(row.id.slice(5)));
      for (const id of this.dataset.one ? [Number(this.dataset.one)] : rows) this.#changed.add(id);
      this.#scheduleFetch();
    });
    // A hidden window fetches nothing; it catches up when it becomes visible.
    document.addEventListener("visibilitychange", () => {
      if (this.#changed.size) this.#scheduleFetch();
    });
    this.#stream = new SharedStream(this, this.dataset.stream, this.dataset.owner);
    // Log lines send no events: poll them while the task runs.
    if (this.dataset.one) {
      const lines = document.getElementById("task-lines");
      lines.scrollTop = lines.scrollHeight;
      const timer = setInterval(() => {
        if (this.#ended) clearInterval(timer);
        else if (!document.hidden && this.querySelector(RUNNING)) this.#scheduleFetch();
      }, LOG_INTERVAL_MS);
    }
  }

  #scheduleFetch(interval = FETCH_INTERVAL_MS) {
    if (this.#timer || this.#busy || this.#ended || document.hidden) return;
    const wait = Math.max(0, this.#fetchedAt + interval - performance.now());
    this.#timer = setTimeout(() => this.#fetch(), wait);
  }

  async #fetch() {
    this.#timer = 0;
    this.#busy = true;
    this.#fetchedAt = performance.now();
    const ids = [...this.#changed].slice(0, 200);
    ids.forEach((id) => this.#changed.delete(id));
    let interval = FETCH_INTERVAL_MS;
    try {
      const options = { headers: { "HX-Request": "true" }, redirect: "manual" };
      const response = await fetch(this.#url(ids), options);
      const status = statusOf(response);
      if (status === 401) showSignedOut();
      else if (status === 404) location.reload();
      else if (!response.ok) throw new Error(status);
      else this.#update(applyParts(await response.text()));
    } catch {
      ids.forEach((id) => this.#changed.add(id));
      interval = RETRY_MS;
    }
    this.#busy = false;
    if (this.#changed.size) this.#scheduleFetch(interval);
  }

  #url(ids) {
    if (this.dataset.one) {
      const last = document.getElementById("task-lines").lastElementChild;
      return `${this.dataset.parts}?after=${last ? last.id.replace("line-", "") : 0}`;
    }
    const shown = ids.filter((id) => document.getElementById(`task-${id}`));
    const newest = this.dataset.newest ? `&newest=${this.dataset.newest}` : "";
    return `${this.dataset.parts}?ids=${shown.join(",")}${newest}&${this.dataset.filters}`;
  }

  #update(fresh) {
    this.#ended = fresh.getElementById("task-over") !== null;
    if (this.#ended) {
      this.dispatchEvent(new CustomEvent("task-end", { bubbles: true }));
      this.#stream.end();
    }
    const state = document.querySelector("#task-head .state");
    this.#announce((state ?? document.getElementById("news")).textContent.trim());
  }

  // For screen readers: the latest text, once per ANNOUNCE_INTERVAL_MS at most.
  #announce(text) {
    this.#announcement = text;
    if (!text || this.#announceTimer) return;
    const interval = this.#ended ? 0 : ANNOUNCE_INTERVAL_MS;
    const wait = Math.max(0, this.#announcedAt + interval - performance.now());
    this.#announceTimer = setTimeout(() => {
      this.#announceTimer = 0;
      this.#announcedAt = performance.now();
      const announcer = this.querySelector("[data-announcer]");
      if (announcer.textContent !== this.#announcement) announcer.textContent = this.#announcement;
    }, wait);
  }
}

customElements.define("task-feed", TaskFeed);

// ---- <connection-state> shows the state of the connection.

let showSignedOut = () => {};

// Events set the fields, in any order, and the fields determine the state that is shown.
class ConnectionState extends HTMLElement {
  #signedOut = false;
  #lost = false;
  #away = false;
  #ended = false;
  #timer = 0;

  connectedCallback() {
    showSignedOut = () => this.#apply(() => (this.#signedOut = true));
    const on = (target, name, change) =>
      target.addEventListener(name, (event) => this.#apply(() => change(event)));
    on(document, "stream-open", () => (this.#lost = this.#signedOut = false));
    on(document, "stream-lost", (event) => {
      this.#lost = true;
      this.#signedOut = event.detail.status === 401;
    });
    on(document, "hints", (event) => (this.#away = event.detail.data === "away"));
    on(document, "task-end", () => (this.#ended = true));
    on(window, "offline", () => {});
    on(window, "online", () => {});
  }

  #apply(change) {
    change();
    let state = "";
    if (this.#ended) state = "";
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
      const login = new URL(this.dataset.signedOutHref, location.href);
      login.searchParams.set("next", location.pathname + location.search);
      link.href = login;
      link.textContent = text.textContent;
      text.replaceChildren(link);
    }
    this.hidden = !state;
    if (state === "back") this.#timer = setTimeout(() => this.#show(""), 3000);
  }
}

customElements.define("connection-state", ConnectionState);
