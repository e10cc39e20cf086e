// The metrics: how much is decided, and how fast, from the counters of the server.

import { $, ANSWER_MAX_MS, call, measured, sleep, write } from "./basics.js";

const POLL_MS = 1_000;
const POINTS_MAX = 120;
const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const METRIC = /^bps_(records_total|decisions_total|latency_seconds_bucket)(?:\{(.*?)\})? (\S+)/gm;

let points = []; // { at, rate, p50, p99 ... }; null where there is nothing to measure

function sampleOf(text, at) {
  const sample = { at, records: 0, decisions: 0, upTo: new Map() };
  for (const [, name, labels = "", value] of text.matchAll(METRIC)) {
    const le = /\ble="([^"]*)"/.exec(labels)?.[1].replace("Inf", "Infinity");
    if (le) sample.upTo.set(Number(le), (sample.upTo.get(Number(le)) ?? 0) + Number(value));
    if (name === "records_total") sample.records += Number(value);
    // What was sent again was decided before.
    const isAgain = /"(CONFLICTING_)?RESEND"/.test(labels);
    if (name === "decisions_total" && !isAgain) sample.decisions += Number(value);
  }
  return sample;
}

/** What happened between two samples. After a restart, which counts from 0, it is not known. */
function pointOf(before, now) {
  const { at } = now;
  if (now.decisions < before.decisions) return { at, rate: null, p50: null, p99: null };
  const perSecond = (counter) => ((now[counter] - before[counter]) * 1_000) / (at - before.at);
  const grown = [...now.upTo].sort(([a], [b]) => a - b)
    .map(([le, count]) => [1_000 * le, count - (before.upTo.get(le) ?? 0)]);
  const [rate, records] = [perSecond("decisions"), perSecond("records")];
  const bound = grown.at(-2)?.[0];
  return { at, rate, records, p50: quantile(grown, 0.5), p99: quantile(grown, 0.99), bound };
}

/** Interpolated in its bucket; the last bound where it is behind all; null of nothing. */
function quantile(buckets, share) {
  const rank = share * (buckets.at(-1)?.[1] ?? 0);
  if (!(rank > 0)) return null;
  const found = buckets.findIndex(([, upTo]) => upTo >= rank);
  const [[le, upTo], [lower, below]] = [buckets[found], buckets[found - 1] ?? [0, 0]];
  return le === Infinity ? lower : lower + ((le - lower) * (rank - below)) / (upTo - below);
}

export async function pollMetrics(signal) {
  for (let before = null; !signal.aborted; ) {
    const next = sleep(POLL_MS, signal);
    const at = performance.now(); // not when it was read, which a busy page does late
    try {
      const answer = await call("/metrics", { signal: AbortSignal.timeout(ANSWER_MAX_MS) });
      const now = sampleOf(await answer.text(), at);
      if (signal.aborted) return;
      if (before) points = [...points, pointOf(before, now)].slice(-POINTS_MAX);
      before = now;
      drawMetrics();
    } catch (error) {
      if (!signal.aborted) write($("metrics-note"), `no metrics: ${error.message}`);
    }
    await next;
  }
}

function drawMetrics() {
  const now = points.at(-1);
  if (!now) return;
  const latest = points.findLast((point) => point.p99 !== null);
  const age = latest ? Math.round((now.at - latest.at) / 1_000) : 0;
  const ms = (value) => (value >= latest.bound ? "≥ " : "") + measured(value);
  write($("rate"), now.rate === null ? "–" : measured(now.rate));
  write($("metrics-note"), now.rate === null ? "restarted" : `${measured(now.records)} records/s`);
  write($("latency-p50"), latest ? ms(latest.p50) : "–");
  write($("latency-p99"), latest ? ms(latest.p99) : "–");
  write($("latency-age"), !latest ? "nothing decided" : age > 0 ? `${age} s ago` : "");
  drawChart($("rate-chart"), ["rate"], "Decisions per second");
  drawChart($("latency-chart"), ["p50", "p99"], "Latency in milliseconds");
}

function drawChart(chart, names, title) {
  const known = (name) => points.map((point) => point[name]).filter((value) => value !== null);
  const top = roundAbove(Math.max(0, ...names.flatMap(known)));
  write(chart.querySelector(".top"), SHORT.format(top));
  write(chart.querySelector(".middle"), SHORT.format(top / 2));
  const told = names.map((name) => {
    chart.querySelector(`.${name}`).setAttribute("d", pathOf(name, top));
    const values = known(name);
    if (values.length === 0) return `${name}: nothing measured`;
    return `${name}: last ${measured(values.at(-1))}, highest ${measured(Math.max(...values))}`;
  });
  const text = `${title}, over the last two minutes. ${told.join("; ")}`;
  chart.querySelector("svg").setAttribute("aria-label", text);
}

/** In the box of the chart, 120 seconds wide and 100 high; a point alone is a dot. */
function pathOf(name, top) {
  const end = points.at(-1).at;
  let before = -Infinity;
  return points.filter((point) => point[name] !== null).map((point) => {
    const x = (120 - (end - point.at) / 1_000).toFixed(2);
    const place = `${x} ${(100 - (100 * point[name]) / top).toFixed(2)}`;
    const isJoined = point.at - before < 2.5 * POLL_MS;
    before = point.at;
    return isJoined ? `L${place}` : `M${place}L${place}`;
  }).join("");
}

/** 1, 2 or 5 and zeros. */
function roundAbove(value) {
  const power = 10 ** Math.floor(Math.log10(value || 1));
  return [1, 2, 5, 10].map((n) => n * power).find((n) => n >= value);
}
