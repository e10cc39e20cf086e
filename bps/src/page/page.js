// The page of book-purchase-streams: what starts and stops it, the state of its connection, and
// its token. Each module keeps its own state; all that is kept or drawn has a bound.

import { $, kept, write } from "./basics.js";
import { onDecision, onDecisionsFresh } from "./decisions.js";
import { pollMetrics } from "./metrics.js";
import { loadItems, onItem } from "./stock.js";
import { Stream } from "./streams.js";

let running = null;
let halt = "hidden"; // why nothing runs
const streams = [
  // Once the stream has its place, nothing falls between it and the list.
  new Stream("/items/stream", "item", {
    onData: onItem,
    onFresh: loadItems,
    onState: showConnection,
  }),
  new Stream("/purchases/stream", "result", {
    onData: onDecision,
    onFresh: onDecisionsFresh,
    onState: showConnection,
  }),
];

function start() {
  if (running || document.hidden) return;
  running = new AbortController();
  halt = "";
  $("token").hidden = true;
  $("forget-token").hidden = !kept.bpsToken;
  streams.forEach((stream) => stream.run(running.signal));
  pollMetrics(running.signal);
  loadItems();
}

function stop(why) {
  running?.abort();
  running = null;
  halt = why;
  showConnection();
}

function showConnection() {
  const is = (state) => streams.find((stream) => stream.state === state);
  const worst = is("reconnecting") ?? is("connecting") ?? streams[0];
  const state = halt || worst.state;
  const seconds = Math.ceil((worst.retryAt - performance.now()) / 1_000);
  const when = seconds > 0 ? `in ${seconds} s` : "now";
  const reconnecting = `reconnecting ${when} (${worst.why})`;
  const texts = { reconnecting, unauthorized: "a token is needed" };
  write($("connection-text"), texts[state] ?? state);
  if ($("connection").dataset.state !== state) write($("announcement"), `Connection: ${state}`);
  $("connection").dataset.state = state;
}

document.addEventListener("unauthorized", ({ detail: why }) => {
  stop("unauthorized");
  write($("token-why"), why);
  $("token").hidden = false;
  $("token").scrollIntoView({ block: "nearest" });
  if (document.activeElement === document.body) $("token-field").focus();
});

$("token").addEventListener("submit", (event) => {
  event.preventDefault();
  kept.bpsToken = $("token-field").value;
  event.target.reset();
  start();
});

$("forget-token").addEventListener("click", () => {
  delete kept.bpsToken;
  stop("connecting");
  start();
});

setInterval(showConnection, 250); // it counts down
// A page that nobody sees asks for nothing, and leaves its connections to others: a browser
// has six for all pages of an origin, and each page holds two.
document.addEventListener("visibilitychange", () => {
  if (document.hidden && running) stop("hidden");
  else if (halt === "hidden") start();
});
start();
