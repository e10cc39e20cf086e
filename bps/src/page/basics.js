// What the other modules have in common: numbers, elements, and requests. Data becomes text only,
// never markup; the markup is in the templates of the HTML.

export const ANSWER_MAX_MS = 20_000; // the server itself waits for 10 s
const DRAW_MS = 150;

// ---- Numbers ----

const GROUPED = new Intl.NumberFormat("en");
const JSON_TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

/** Sums go up to 2^64 - 1, and a number is exact up to 2^53: long integers stay strings. */
export function readJson(text) {
  const isLong = (token) => /^-?\d{16,}$/.test(token);
  return JSON.parse(text.replace(JSON_TOKEN, (token) => (isLong(token) ? `"${token}"` : token)));
}

export function grouped(value) {
  return /^-?\d+$/.test(value) ? GROUPED.format(BigInt(value)) : value ?? "";
}

/** One decimal where that says something. */
export function measured(value) {
  return GROUPED.format(value < 99.95 ? Math.round(value * 10) / 10 : Math.round(value));
}

// ---- Elements ----

export const $ = (id) => document.getElementById(id);
export const copyOf = (template) => $(template).content.firstElementChild.cloneNode(true);

/** Whoever listens to the element, or has marked a word in it, is disturbed by changes only. */
export function write(target, text) {
  if (target.textContent !== String(text)) target.textContent = text;
}

/** Writes the values into the elements that name them; what is missing is left empty. */
export function fill(parent, values) {
  for (const cell of parent.querySelectorAll("[data-field]")) {
    const value = values[cell.dataset.field];
    write(cell, cell.classList.contains("number") ? grouped(value) : (value ?? ""));
  }
}

/** Runs `draw` soon, once for all calls until then. */
export function soon(draw) {
  let timer = null;
  return () => (timer ??= setTimeout(() => ((timer = null), draw()), DRAW_MS));
}

// ---- Requests ----

/** Where the token is: in this tab, or, where storage is forbidden, as long as this page. */
export const kept = (() => { try { return window.sessionStorage; } catch { return {}; } })();

/**
 * What is not a success is thrown, with `response` and its `problem`; or the network's error.
 * That a token is needed is also told to the document: no caller can go on without one.
 */
export async function call(path, { headers, ...options } = {}) {
  const bearer = kept.bpsToken ? { authorization: `Bearer ${kept.bpsToken}` } : {};
  const all = { cache: "no-store", headers: { ...headers, ...bearer }, ...options };
  const response = await fetch(path, all);
  if (response.ok) return response;
  const problem = await response.text().then(readJson).catch(() => ({})); // a proxy's, perhaps
  const told = problem.detail || problem.title || response.statusText;
  if (response.status === 401) {
    document.dispatchEvent(new CustomEvent("unauthorized", { detail: told }));
  }
  throw Object.assign(new Error(`${response.status} ${told}`), { response, problem, told });
}

export function sleep(ms, signal) {
  return new Promise((resolve) => {
    const wake = () => (signal.removeEventListener("abort", wake), clearTimeout(timer), resolve());
    const timer = setTimeout(wake, ms);
    signal.addEventListener("abort", wake);
  });
}
