// The stock: a table of items, as the server lists them and its stream changes them.

import { $, ANSWER_MAX_MS, call, copyOf, fill, readJson, soon, write } from "./basics.js";

const PAGE_ROWS = 100;
const STOCK_ROWS_MAX = 300;
const CHANGES_MAX = 5_000; // of items, not drawn yet

const stock = {
  rows: new Map(), // itemId: { item, line }, in the order of the server
  asked: { prefix: "", available: false },
  next: null, // cursor
  isCut: false, // rows were left out for the bound
  loading: null,
  changes: new Map(), // itemId: its row, as the stream brought it
};

/** Reads the items anew, or those after the ones shown. The latest call wins. */
export async function loadItems({ more } = { more: false }) {
  stock.loading?.abort();
  const mine = (stock.loading = new AbortController());
  const signal = AbortSignal.any([mine.signal, AbortSignal.timeout(ANSWER_MAX_MS)]);
  const entered = { prefix: $("search").value, available: $("available").checked };
  const asked = more ? stock.asked : entered;
  const { size } = stock.rows;
  const limit = more ? Math.min(PAGE_ROWS, STOCK_ROWS_MAX - size) : Math.max(PAGE_ROWS, size);
  try {
    const { items, next } = await readItems({ ...asked, limit }, more ? stock.next : null, signal);
    if (stock.loading !== mine) return;
    Object.assign(stock, { asked, next, isCut: false });
    setItems(more ? [...shownItems(), ...items] : items);
    drawChanges();
  } catch (error) {
    if (stock.loading === mine) write($("items-count"), `cannot be read: ${error.message}`);
  }
  if (stock.loading === mine) stock.loading = null;
}

/** A page that is not empty, or the end: the server may find nothing as far as it looks. */
async function readItems(asked, cursor, signal) {
  const query = new URLSearchParams(cursor === null ? asked : { ...asked, cursor });
  const page = readJson(await (await call(`/items?${query}`, { signal })).text());
  const isEnd = page.items.length > 0 || page.next === null;
  return isEnd ? page : readItems(asked, page.next, signal);
}

const shownItems = () => Array.from(stock.rows.values(), (row) => row.item);

function setItems(items) {
  const focused = document.activeElement;
  const known = stock.rows;
  stock.isCut ||= items.length > STOCK_ROWS_MAX;
  stock.rows = new Map(items.slice(0, STOCK_ROWS_MAX).map((item) => {
    return [item.itemId, setItem(known.get(item.itemId) ?? { line: copyOf("item-row") }, item)];
  }));
  $("items").tBodies[0].replaceChildren(...Array.from(stock.rows.values(), (row) => row.line));
  if (focused?.isConnected) focused.focus({ preventScroll: true }); // moving its row took it
}

function setItem({ line }, item) {
  line.dataset.item = item.itemId;
  line.toggleAttribute("data-empty", Number(item.remaining) === 0);
  fill(line, item);
  const percent = (100 * Number(item.remaining)) / (Number(item.supplied) || 1);
  line.querySelector("rect").setAttribute("width", percent.toFixed(2));
  line.querySelector("svg").setAttribute("aria-label", `${Math.round(percent)} %`);
  return { line, item };
}

const drawChangesSoon = soon(drawChanges);

export function onItem(data) {
  const item = readJson(data);
  stock.changes.set(item.itemId, item);
  if (stock.changes.size > CHANGES_MAX) drawChanges();
  else drawChangesSoon();
}

function drawChanges() {
  const isNewer = (a, b) => ["supplied", "booked"].every((sum) => BigInt(a[sum]) >= BigInt(b[sum]));
  const { asked: { prefix, available }, rows, changes } = stock;
  const last = [...rows.keys()].at(-1);
  const isAll = stock.next === null && !stock.isCut;
  const belongs = ({ itemId, remaining }) => (isAll || itemId < last)
    && itemId.startsWith(prefix) && (!available || Number(remaining) > 0);
  const fresh = [];
  for (const [itemId, item] of changes) {
    const row = rows.get(itemId);
    if (!row && belongs(item)) fresh.push(item);
    // Both sums only ever grow, so an older row never replaces a newer one.
    if (row && isNewer(item, row.item)) rows.set(itemId, setItem(row, item));
  }
  const byId = (a, b) => (a.itemId < b.itemId ? -1 : 1);
  if (fresh.length > 0) setItems([...shownItems(), ...fresh].sort(byId));
  // Rows on their way may be older than these, which are then applied once more.
  if (stock.loading === null || changes.size > CHANGES_MAX) changes.clear();
  showItemsCount();
}

function showItemsCount() {
  const { rows: { size }, next, isCut } = stock;
  const canLoad = next !== null && !isCut && size < STOCK_ROWS_MAX;
  $("more").hidden = !canLoad;
  $("items-empty").hidden = size > 0;
  const first = `the first ${size}${canLoad ? "" : ", search for others"}`;
  const all = `${size} ${size === 1 ? "item" : "items"}`;
  write($("items-count"), next === null && !isCut ? all : first);
}

$("filter").addEventListener("submit", (event) => event.preventDefault());
$("filter").addEventListener("input", soon(loadItems));
$("more").addEventListener("click", () => loadItems({ more: true }));
$("items").tBodies[0].addEventListener("click", (event) => {
  const itemId = event.target.closest("tr").dataset.item;
  for (const form of ["buy", "restock"]) $(form).elements.itemId.value = itemId;
  write($("announcement"), `Item ${itemId} is filled into both forms.`);
});
