// Streams of server-sent events: reads them, and comes back to them after each end.

import { call, sleep } from "./basics.js";

const SILENCE_MAX_MS = 45_000; // of a stream, which sends a comment every 15 s
const RESUME_MAX_MS = 60_000; // after a longer absence, catching up costs more than it shows
const [RETRY_FIRST_MS, RETRY_MAX_MS] = [500, 15_000];
const LINE_CHARS_MAX = 1 << 20;

/** Reads server-sent events (EventSource cannot send a token): takes text as it comes. */
function eventReader(onEvent) {
  let [rest, event] = ["", {}];
  const onLine = (line) => {
    if (line === "") return onEvent(event), (event = {});
    const [, field, value = ""] = /^([^:]*)(?:: ?(.*))?$/s.exec(line);
    const isMore = field === "data" && "data" in event;
    event[field] = isMore ? `${event.data}\n${value}` : value; // the field of a comment is ""
  };
  return (text) => {
    // A carriage return at the end may be half of a line's end.
    const lines = (rest + text).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    if (rest.length > LINE_CHARS_MAX) throw new Error("a line has no end");
    lines.forEach(onLine);
  };
}

/** Follows a path for as long as it is let, and comes back after each end. */
export class Stream {
  lastId = null;
  heardAt = -Infinity;
  state = "connecting";

  /** `onFresh` is called where it begins anew, and does not go on where it was. */
  constructor(path, name, { onFresh, onData, onState }) {
    Object.assign(this, { path, name, onFresh, onData, onState });
  }

  async run(signal) {
    this.attempt = 0;
    this.show("connecting");
    while (!signal.aborted) {
      const error = await this.read(signal).catch((error) => error);
      if (signal.aborted) return;
      if (error.response?.status === 400) this.lastId = null; // else it is refused for ever
      // Jitter, so that not all pages come back at the same moment.
      const most = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** this.attempt++);
      const wait = most * (0.5 + Math.random() / 2);
      this.show("reconnecting", `${this.path}: ${error.message}`, performance.now() + wait);
      await sleep(wait, signal);
    }
  }

  show(state, why = "", retryAt = 0) {
    Object.assign(this, { state, why, retryAt });
    this.onState();
  }

  /** Ends with an error only. */
  async read(signal) {
    if (performance.now() - this.heardAt > RESUME_MAX_MS) this.lastId = null;
    const resume = this.lastId === null ? {} : { "last-event-id": this.lastId };
    const headers = { accept: "text/event-stream", ...resume };
    const own = new AbortController();
    const end = () => own.abort(new Error("silent for too long"));
    let guard = setTimeout(end, SILENCE_MAX_MS);
    try {
      const either = AbortSignal.any([signal, own.signal]);
      const { body } = await call(this.path, { headers, signal: either });
      const parts = body.pipeThrough(new TextDecoderStream()).getReader();
      const take = eventReader(this.taker());
      this.show("live");
      for (let part = await parts.read(); !part.done; part = await parts.read()) {
        clearTimeout(guard);
        guard = setTimeout(end, SILENCE_MAX_MS);
        Object.assign(this, { heardAt: performance.now(), attempt: 0 });
        take(part.value);
      }
      throw new Error("it ended");
    } finally {
      clearTimeout(guard);
      own.abort(); // after an error of ours, the connection is still open
    }
  }

  taker() {
    const isResumed = this.lastId !== null;
    let isOpen = false;
    return ({ event, id, data }) => {
      if (id === undefined && data === undefined) return; // it keeps the connection open
      if (!isOpen && !isResumed) this.onFresh();
      isOpen = true;
      this.lastId = id ?? this.lastId;
      if (data !== undefined && event === this.name) this.onData(data);
    };
  }
}
