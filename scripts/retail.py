#!/usr/bin/env python3
"""Turns a grocer's real year into two JSON-lines files.

    retail.py TRANSACTIONS.parquet FOLDER   writes FOLDER/restocks.jsonl, FOLDER/purchases.jsonl
    retail.py --check FOLDER                decides them by a naive oracle, compares the totals

Only the conversion needs a package (pyarrow); the check needs Python alone and shares
nothing with it but the comparison of totals. `scripts/retail` calls both.

Readings of the source that are choices:
- time: the column carries no zone; it is taken as UTC (its whole seconds: no fraction occurs);
- line number: 1, 2, 3... within the basket, in the order of the source. There a product never
  stands twice in a basket, so basket and product alone would be unique as well;
- order: purchases by (time, basket, place in the source), restocks by (time, product number).
"""

import heapq
import json
import os
import sys
from collections import Counter, defaultdict
from datetime import datetime, timezone

RESTOCKS_EXPECTED = 593_851
PURCHASES_EXPECTED = 1_469_307
OUTCOMES_EXPECTED = {
    "SUCCESS": 1_334_489,
    "INSUFFICIENT_STOCK": 125_949,
    "INVALID_QUANTITY": 8_869,
}
UNITS_SOLD_EXPECTED = 122_283_949

# The engine's `clock_skew_max`: a restock goes before a purchase unless it is stamped later
# than this after it.
RESTOCK_HEAD_START_MS = 5_000


def say(text):
    print(f"retail: {text}", file=sys.stderr)


# --- the conversion ---------------------------------------------------------------------------


def read_lines(parquet):
    """[(time_ms, basket, place, product, quantity, household, week)] as the source has them."""
    import pyarrow
    from pyarrow.parquet import read_table

    columns = ["basket_id", "product_id", "quantity", "household_id", "week"]
    table = read_table(
        parquet,
        columns=[*columns, "transaction_timestamp"],
        coerce_int96_timestamp_unit="ms",  # the file has Spark's int96 nanoseconds
    )
    time_ms = table["transaction_timestamp"].cast(pyarrow.int64()).to_pylist()
    basket, product, quantity, household, week = (table[name].to_pylist() for name in columns)
    return list(zip(time_ms, basket, range(len(time_ms)), product, quantity, household, week))


def purchases(lines):
    """One purchase a line; the lines must be sorted."""
    number_in_basket = Counter()
    for time_ms, basket, _, product, quantity, household, _ in lines:
        number_in_basket[basket] += 1
        yield {
            "purchaseId": f"{basket}-{product}-{number_in_basket[basket]}",
            "itemId": str(product),
            "quantity": quantity,
            "purchasedBy": str(household),
            "timestamp": rfc3339(time_ms),
        }


def restocks(lines):
    """One restock a product and week, a minute before the week's first sale of anything."""
    first_sale_ms = {}
    units = Counter()
    for time_ms, _, _, product, quantity, _, week in lines:
        first_sale_ms[week] = min(time_ms, first_sale_ms.get(week, time_ms))
        units[week, product] += quantity
    rows = sorted((first_sale_ms[week], product, week) for week, product in units)
    for first_ms, product, week in rows:
        quantity = (units[week, product] * 4 + 4) // 5  # 80 % rounded up, without a float
        if quantity > 0:
            yield {
                "restockId": f"w{week}-{product}",
                "itemId": str(product),
                "quantity": quantity,
                "timestamp": rfc3339(first_ms - 60_000),
            }


def rfc3339(time_ms):
    seconds, millis = divmod(time_ms, 1000)
    text = datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{millis:03}Z" if millis else f"{text}Z"


def write(path, rows):
    """Writes beside the target first: an interrupted run leaves no half file under its name."""
    count = 0
    with open(f"{path}.part", "w", encoding="ascii") as out:
        for row in rows:
            out.write(json.dumps(row, separators=(",", ":")) + "\n")
            count += 1
    os.replace(f"{path}.part", path)
    say(f"{count:,} lines in {path}")
    return count


def convert(parquet, folder):
    lines = sorted(read_lines(parquet))
    counts = (
        write(os.path.join(folder, "restocks.jsonl"), restocks(lines)),
        write(os.path.join(folder, "purchases.jsonl"), purchases(lines)),
    )
    return compare("restocks, purchases", counts, (RESTOCKS_EXPECTED, PURCHASES_EXPECTED))


# --- the check: a naive oracle, written without a look at the engine ----------------------------


def read(folder, name, head_start_ms):
    """(engine's key in ms, record); refuses a file that is not in order of time."""
    before = None
    with open(os.path.join(folder, name), encoding="utf-8") as file:
        for text in file:
            record = json.loads(text)
            stamp = datetime.fromisoformat(record["timestamp"].replace("Z", "+00:00"))
            key = round(stamp.timestamp() * 1000) - head_start_ms
            if before is not None and key < before:
                sys.exit(f"retail: {name} is out of order at {record}")
            before = key
            yield key, record


def decide(purchase, remaining):
    quantity, item = purchase["quantity"], purchase["itemId"]
    if type(quantity) is not int or quantity <= 0:
        return "INVALID_QUANTITY"
    if item not in remaining:
        return "UNKNOWN_ITEM"
    return "INSUFFICIENT_STOCK" if quantity > remaining[item] else "SUCCESS"


def check(folder):
    remaining, ids, outcomes, units_sold = {}, defaultdict(set), Counter(), 0
    # merge() is stable: at equal keys the first stream, the restocks, goes first.
    for _, record in heapq.merge(
        read(folder, "restocks.jsonl", RESTOCK_HEAD_START_MS),
        read(folder, "purchases.jsonl", 0),
        key=lambda pair: pair[0],
    ):
        item, quantity = record["itemId"], record["quantity"]
        id = record.get("purchaseId") or record["restockId"]
        if id in ids[item]:
            sys.exit(f"retail: item {item} has {id} twice")
        ids[item].add(id)
        if "restockId" in record:
            remaining[item] = remaining.get(item, 0) + quantity
            continue
        outcome = decide(record, remaining)
        outcomes[outcome] += 1
        if outcome == "SUCCESS":
            remaining[item] -= quantity
            units_sold += quantity
    good = compare("outcomes", dict(outcomes), OUTCOMES_EXPECTED)
    return compare("units sold", units_sold, UNITS_SOLD_EXPECTED) and good


def compare(what, found, expected):
    say(f"{what}: {found}" + ("" if found == expected else f", EXPECTED {expected}"))
    return found == expected


def main(arguments):
    if len(arguments) != 2:
        sys.exit(__doc__)
    if arguments[0] == "--check":
        good = check(arguments[1])
    else:
        good = convert(*arguments)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main(sys.argv[1:])
