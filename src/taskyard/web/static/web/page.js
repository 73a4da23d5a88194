// What every page has: the menu closes when the person goes on elsewhere.
const menu = document.querySelector("details.menu");

document.addEventListener("click", (event) => {
  if (menu && !menu.contains(event.target)) menu.open = false;
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !menu?.open) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});

// One press, one task; and what cannot be undone is asked for twice.
document.addEventListener("submit", (event) => {
  const { target: form, submitter } = event;
  const question = submitter?.dataset.confirm;
  if (form.dataset.sent || (question && !window.confirm(question))) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "yes";
  setTimeout(() => delete form.dataset.sent, 3000);
});

// What is done to the tasks that are selected waits until one is.
const selection = document.querySelector("[data-selection]");
if (selection) {
  const boxes = () => [...selection.querySelectorAll('input[name="task"]')];
  const all = selection.querySelector("[data-pick-all]");
  const show = () => {
    const count = boxes().filter((box) => box.checked).length;
    selection.querySelector("[data-selected]").textContent = count;
    selection.querySelectorAll('button[name="do"]').forEach((button) => (button.disabled = !count));
    all.checked = count > 0 && count === boxes().length;
    all.indeterminate = count > 0 && !all.checked;
  };
  all.hidden = false;
  selection.addEventListener("change", (event) => {
    if (event.target === all) boxes().forEach((box) => (box.checked = all.checked));
    show();
  });
  // Also for what the browser remembers of the page when the person comes back.
  window.addEventListener("pageshow", show);
  show();
}

// What scripts do by themselves needs no button.
document.querySelectorAll("[data-without-scripts]").forEach((button) => (button.hidden = true));

// ---- times, on one clock: the person's own, written as their browser writes times

const units = (document.documentElement.dataset.units || "d h min s ms").split(" ");
const SIZES = [86400, 3600, 60, 1];
const day = { year: "numeric", month: "short", day: "numeric" };
const clock = { hour: "2-digit", minute: "2-digit" };
const second = { ...clock, second: "2-digit" };
const FORMATS = Object.fromEntries(
  Object.entries({
    full: { ...day, ...second, timeZoneName: "short" },
    clock: { ...day, ...second },
    exact: { ...second, fractionalSecondDigits: 3 },
    minute: clock,
  }).map(([kind, options]) => [kind, new Intl.DateTimeFormat(navigator.languages, options)]),
);

function span(seconds, parts) {
  seconds = Math.max(0, seconds);
  if (seconds < 1 && parts > 1) return `${Math.round(seconds * 1000)} ${units[4]}`;
  if (seconds < 10 && parts > 1) return `${seconds.toFixed(1)} ${units[3]}`;
  let left = Math.floor(seconds);
  const said = [];
  SIZES.forEach((size, index) => {
    if (said.length < parts && (left >= size || (size === 1 && !said.length))) {
      said.push(`${Math.floor(left / size)} ${units[index]}`);
      left %= size;
    }
  });
  return said.join(" ");
}

export function tick(element) {
  const moment = new Date(element.getAttribute("datetime"));
  const passed = (Date.now() - moment) / 1000;
  const { kind } = element.dataset;
  const title = FORMATS.full.format(moment);
  if (element.title !== title) element.title = title;
  const text = kind in FORMATS ? FORMATS[kind].format(moment) : span(passed, kind === "ago" ? 1 : 2);
  const inner = element.firstElementChild ?? element;
  if (inner.textContent !== text) inner.textContent = text;
}

customElements.define(
  "live-time",
  class extends HTMLElement {
    connectedCallback() {
      // A parser may not have come to what is inside.
      if (this.firstElementChild) tick(this);
      else queueMicrotask(() => tick(this));
      for (const title of this.closest("figure")?.querySelectorAll("title[data-moment]") ?? []) {
        const moment = new Date(title.dataset.moment);
        title.textContent = title.textContent.replace(/^.*? UTC:/, `${FORMATS.minute.format(moment)}:`);
      }
    }
  },
);
setInterval(() => {
  if (!document.hidden) document.querySelectorAll('live-time:is([data-kind="ago"], [data-kind="span"])').forEach(tick);
}, 1000);
const zoneName = document.querySelector(".clock-label span");
if (zoneName) zoneName.textContent = FORMATS.clock.resolvedOptions().timeZone;
