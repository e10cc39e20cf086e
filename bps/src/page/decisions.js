// What is decided: the requests of the two forms of this page, and the purchases of everybody.

import {
  $, ANSWER_MAX_MS, call, copyOf, fill, grouped, readJson, soon, write,
} from "./basics.js";

const DECISIONS_MAX = 100;

// ---- Forms ----

const AGAIN = "Sent again unchanged, it counts once.";
const requests = {}; // by form: { body, key }, until its outcome is known

/** A secure context has randomUUID; a page that came over http from another host has not. */
function freshKey() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The fields as JSON, but for empty ones; the quantity with all digits that were entered. */
function bodyOf(form) {
  const fields = [...new FormData(form)].filter(([, value]) => value !== "");
  const json = (name, value) => (name === "quantity" ? BigInt(value) : JSON.stringify(value));
  return `{${fields.map(([name, value]) => `"${name}":${json(name, value)}`).join()}}`;
}

async function submit(form, path) {
  if (form.ariaBusy === "true") return;
  form.ariaBusy = "true";
  const outcome = $(`${form.id}-outcome`);
  delete outcome.dataset.status;
  outcome.replaceChildren("Waiting for the decision …");
  const body = bodyOf(form);
  if (requests[form.id]?.body !== body) requests[form.id] = { body, key: freshKey() };
  const told = await send(path, requests[form.id]).catch(failure);
  if (told.kind !== "open") delete requests[form.id];
  const content = copyOf("outcome");
  fill(content, { ...told.values, ...told });
  outcome.replaceChildren(content);
  Object.assign(outcome.dataset, { status: told.status, kind: told.kind });
  form.ariaBusy = "false";
}

/** What became of a request: "good", "bad", or "open" where the same may be sent again. */
async function send(path, { body, key }) {
  const headers = { "content-type": "application/json", "idempotency-key": key, prefer: "wait=10" };
  const signal = AbortSignal.timeout(ANSWER_MAX_MS);
  const response = await call(path, { method: "POST", headers, body, signal });
  const answer = readJson(await response.text());
  const values = { ...answer, ...answer.restock, ...answer.item };
  const open = { status: "202", kind: "open", text: `Durable, not decided yet. ${AGAIN}`, values };
  if (response.status === 202) return open;
  const isReplay = response.headers.get("idempotency-replayed") === "true";
  const text = isReplay ? "This is the answer to the earlier request; nothing was repeated." : "";
  return { status: "SUCCESS", kind: "good", text, values };
}

function failure({ response, problem, told, message }) {
  if (!response) {
    const text = `No answer: ${message}. It may have been taken. ${AGAIN}`;
    return { status: "NETWORK", kind: "open", text };
  }
  const { reason, title } = problem;
  if (reason) return { status: reason, kind: "bad", text: `${title}.`, values: problem };
  const isOpen = response.status >= 500 || [401, 403, 408, 429].includes(response.status);
  const seconds = response.headers.get("retry-after");
  const text = `${told}.${seconds ? ` Wait for ${seconds} s.` : ""} ${isOpen ? AGAIN : ""}`;
  return { status: `${response.status}`, kind: isOpen ? "open" : "bad", text };
}

for (const [id, path] of [["buy", "/purchases"], ["restock", "/items"]]) {
  $(id).addEventListener("submit", (event) => {
    event.preventDefault();
    submit(event.target, path);
  });
}

// ---- Decisions ----

const CLOCK = new Intl.DateTimeFormat("sv", { dateStyle: "short", timeStyle: "medium" });
const decided = { waiting: [], came: 0, newer: 0, isPaused: false };
const drawDecisionsSoon = soon(drawDecisions);

/** There may be many thousands a second: only those that will be shown are parsed. */
export function onDecision(data) {
  decided.came += 1;
  decided.newer += 1;
  addDecision(() => decisionLine(readJson(data)));
}

/** Marks the place where the stream does not go on where it was. */
export function onDecisionsFresh() {
  addDecision(() => copyOf("beginning"));
}

function addDecision(line) {
  decided.waiting.push(line);
  if (decided.waiting.length > 2 * DECISIONS_MAX) decided.waiting.splice(0, DECISIONS_MAX);
  drawDecisionsSoon();
}

function drawDecisions() {
  const { came, newer, isPaused, waiting } = decided;
  const count = isPaused ? `paused, ${grouped(newer)} newer` : `${grouped(came)} so far`;
  write($("decisions-count"), count);
  if (isPaused) return;
  const list = $("decisions");
  list.prepend(...waiting.slice(-DECISIONS_MAX).map((line) => line()).reverse());
  while (list.children.length > DECISIONS_MAX) list.lastElementChild.remove();
  Object.assign(decided, { waiting: [], newer: 0 });
}

function decisionLine(result) {
  const line = copyOf("decision");
  line.dataset.status = result.status;
  fill(line, { ...result, time: CLOCK.format(new Date(result.decidedAt)) });
  return line;
}

$("pause").addEventListener("click", () => {
  decided.isPaused = !decided.isPaused;
  $("pause").ariaPressed = `${decided.isPaused}`;
  drawDecisions();
});
