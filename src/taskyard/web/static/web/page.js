// Scripts of every page.

// Close the menu on a click outside of it, or on Escape.
const menu = document.querySelector("details.menu");

document.addEventListener("click", (event) => {
  if (menu && !menu.contains(event.target)) menu.open = false;
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !menu?.open) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});

// Ignore a second submit within 3 s, and ask for confirmation of irreversible actions.
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

// Disable the buttons for selected tasks while no task is selected.
const selection = document.querySelector("[data-selection]");
if (selection) {
  const boxes = () => [...selection.querySelectorAll('input[name="task"]')];
  const all = selection.querySelector("[data-pick-all]");
  const update = () => {
    const count = boxes().filter((box) => box.checked).length;
    selection.querySelector("[data-selected]").textContent = count;
    selection.querySelectorAll('button[name="do"]').forEach((button) => (button.disabled = !count));
    all.checked = count > 0 && count === boxes().length;
    all.indeterminate = count > 0 && !all.checked;
  };
  all.hidden = false;
  selection.addEventListener("change", (event) => {
    if (event.target === all) boxes().forEach((box) => (box.checked = all.checked));
    update();
  });
  // The browser may restore checked boxes when the user comes back to the page.
  window.addEventListener("pageshow", update);
  update();
}

// Hide the buttons that scripts make unnecessary.
document.querySelectorAll("[data-without-scripts]").forEach((button) => (button.hidden = true));

// ---- Times: <live-time> shows a time in the browser's time zone and format, and keeps durations
// current.

const unitNames = (document.documentElement.dataset.units || "d h min s ms").split(" ");
const SECONDS_PER_UNIT = [86400, 3600, 60, 1];
const tenths = new Intl.NumberFormat(document.documentElement.lang || "en", {
  minimumFractionDigits: 1,
  maximumFractionDigits: 1,
});
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

// The same as `format_duration` in duration_text.py.
function formatDuration(seconds, parts) {
  seconds = Math.max(0, seconds);
  if (seconds < 1 && parts > 1) return `${Math.round(seconds * 1000)} ${unitNames[4]}`;
  if (seconds < 10 && parts > 1) return `${tenths.format(seconds)} ${unitNames[3]}`;
  let rest = Math.floor(seconds);
  const texts = [];
  SECONDS_PER_UNIT.forEach((size, index) => {
    if (texts.length < parts && (rest >= size || (size === 1 && !texts.length))) {
      texts.push(`${Math.floor(rest / size)} ${unitNames[index]}`);
      rest %= size;
    }
  });
  return texts.join(" ");
}

export function updateTime(element) {
  const moment = new Date(element.getAttribute("datetime"));
  const seconds = (Date.now() - moment) / 1000;
  const { kind } = element.dataset;
  const title = FORMATS.full.format(moment);
  if (element.title !== title) element.title = title;
  const text = kind in FORMATS ? FORMATS[kind].format(moment) : formatDuration(seconds, kind === "ago" ? 1 : 2);
  const inner = element.firstElementChild ?? element;
  if (inner.textContent !== text) inner.textContent = text;
}

customElements.define(
  "live-time",
  class extends HTMLElement {
    connectedCallback() {
      // The parser may not have read the children yet.
      if (this.firstElementChild) updateTime(this);
      else queueMicrotask(() => updateTime(this));
      for (const title of this.closest("figure")?.querySelectorAll("title[data-moment]") ?? []) {
        const moment = new Date(title.dataset.moment);
        title.textContent = title.textContent.replace(/^.*? UTC:/, `${FORMATS.minute.format(moment)}:`);
      }
    }
  },
);
setInterval(() => {
  if (!document.hidden) document.querySelectorAll('live-time:is([data-kind="ago"], [data-kind="span"])').forEach(updateTime);
}, 1000);
const zoneName = document.querySelector(".clock-label span");
if (zoneName) zoneName.textContent = FORMATS.clock.resolvedOptions().timeZone;
