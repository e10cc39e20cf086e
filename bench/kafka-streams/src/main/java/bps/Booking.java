package bps;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;

/** The rule, as {@code purchase-processor/src/booking.rs} has it, with the same results. */
final class Booking implements Processor<String, byte[], String, byte[]> {
    static final String RESTOCKS = "restocks";
    static final String STOCK = "stock";
    static final String DECIDED = "decided";
    static final String RESTOCKED = "restocked";
    static final String RESULTS = "results";
    static final String ANSWERS = "answers";
    private static final long QUANTITY_MAX = 1L << 53;

    private final boolean remembers;
    private final Wish wish = new Wish();
    private final StringBuilder text = new StringBuilder(512);
    private ProcessorContext<String, byte[]> context;
    private KeyValueStore<Bytes, byte[]> stock;
    private KeyValueStore<Bytes, byte[]> decided;
    private KeyValueStore<Bytes, byte[]> restocked;

    Booking(boolean remembers) {
        this.remembers = remembers;
    }

    @Override
    public void init(ProcessorContext<String, byte[]> context) {
        this.context = context;
        stock = context.getStateStore(STOCK);
        if (remembers) {
            decided = context.getStateStore(DECIDED);
            restocked = context.getStateStore(RESTOCKED);
        }
    }

    @Override
    public void process(Record<String, byte[]> record) {
        wish.read(record.value());
        boolean isRestock = wish.restockId != null;
        String id = isRestock ? wish.restockId : wish.purchaseId;
        if (remembers && isResend(isRestock ? restocked : decided, id)) {
            return;
        }
        Bytes item = Bytes.wrap(wish.itemId.getBytes(StandardCharsets.UTF_8));
        byte[] row = stock.get(item);
        long supplied = row == null ? 0 : ByteBuffer.wrap(row).getLong();
        long booked = row == null ? 0 : ByteBuffer.wrap(row).getLong(8);
        if (isRestock) {
            restock(record, item, supplied, booked);
        } else {
            purchase(record, item, row != null, supplied, booked);
        }
    }

    private void restock(Record<String, byte[]> record, Bytes item, long supplied, long booked) {
        String reason = isValid(wish.quantity) ? null : "INVALID_QUANTITY";
        long after = reason == null ? supplied + wish.quantity : supplied;
        if (reason == null) {
            stock.put(item, row(after, booked));
        }
        text.setLength(0);
        text.append("{\"restockId\":\"").append(wish.restockId).append("\",\"itemId\":\"")
            .append(wish.itemId).append("\",\"quantity\":").append(wish.quantity);
        result(reason).append(",\"supplied\":").append(after).append('}');
        emit(record, wish.restockId, ANSWERS);
    }

    private void purchase(
            Record<String, byte[]> record, Bytes item, boolean isKnown, long supplied, long booked) {
        long remaining = supplied - booked;
        String reason = null;
        if (!isValid(wish.quantity)) {
            reason = "INVALID_QUANTITY";
        } else if (!isKnown) {
            reason = "UNKNOWN_ITEM";
        } else if (wish.quantity > remaining) {
            reason = "INSUFFICIENT_STOCK";
        } else {
            remaining -= wish.quantity;
            stock.put(item, row(supplied, booked + wish.quantity));
        }
        String status = reason == null ? "SUCCESS" : "FAILED";
        text.setLength(0);
        text.append("{\"purchaseId\":\"").append(wish.purchaseId).append("\",\"itemId\":\"")
            .append(wish.itemId).append("\",\"quantity\":").append(wish.quantity)
            .append(",\"purchasedBy\":\"").append(wish.purchasedBy).append('"');
        result(reason).append(",\"itemQuantity\":").append(supplied).append(",\"alreadyBooked\":")
            .append(booked).append(",\"remaining\":").append(remaining)
            .append(",\"resultMessage\":\"").append(wish.purchaseId).append(" - ")
            .append(wish.itemId).append(' ').append(status).append(" quantity: ").append(supplied)
            .append(" alreadyBooked: ").append(booked).append(" purchaseQuantity: ")
            .append(wish.quantity).append(" remaining: ").append(remaining)
            .append("\",\"decidedAt\":").append(record.timestamp()).append('}');
        emit(record, wish.purchaseId, RESULTS);
    }

    private StringBuilder result(String reason) {
        text.append(",\"status\":\"").append(reason == null ? "SUCCESS" : "FAILED")
            .append("\",\"reason\":");
        return reason == null ? text.append("null") : text.append('"').append(reason).append('"');
    }

    private void emit(Record<String, byte[]> record, String key, String sink) {
        byte[] value = text.toString().getBytes(StandardCharsets.UTF_8);
        context.forward(record.withKey(key).withValue(value), sink);
    }

    /** Whether the id was decided before; it is remembered now. */
    private boolean isResend(KeyValueStore<Bytes, byte[]> memory, String id) {
        byte[] key = (wish.itemId + '\0' + id).getBytes(StandardCharsets.UTF_8);
        byte[] content = ByteBuffer.allocate(16).putLong(wish.quantity)
            .putLong(wish.purchasedBy == null ? 0 : wish.purchasedBy.hashCode()).array();
        return memory.putIfAbsent(Bytes.wrap(key), content) != null;
    }

    private static boolean isValid(long quantity) {
        return quantity >= 1 && quantity <= QUANTITY_MAX;
    }

    private static byte[] row(long supplied, long booked) {
        return ByteBuffer.allocate(16).putLong(supplied).putLong(booked).array();
    }
}
