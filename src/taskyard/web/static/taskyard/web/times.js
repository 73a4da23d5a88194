// <live-time> shows a time in the browser's time zone and format, and keeps durations current.
//
// The scripts of pages import this module, and no page names it in a script element: a storage that
// puts a hash into the names of files may leave imports as they are, and a module with two names
// would run twice.

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
