package bps;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.io.UncheckedIOException;

/** A restock or a purchase, read by Jackson's streaming reader into fields that are used again. */
final class Wish {
    private static final JsonFactory JSON = new JsonFactory();

    String restockId;
    String purchaseId;
    String itemId;
    String purchasedBy;
    long quantity;

    void read(byte[] value) {
        restockId = null;
        purchaseId = null;
        itemId = null;
        purchasedBy = null;
        quantity = 0;
        try (JsonParser parser = JSON.createParser(value)) {
            parser.nextToken();
            while (parser.nextToken() == JsonToken.FIELD_NAME) {
                String name = parser.currentName();
                parser.nextToken();
                switch (name) {
                    case "restockId" -> restockId = parser.getText();
                    case "purchaseId" -> purchaseId = parser.getText();
                    case "itemId" -> itemId = parser.getText();
                    case "purchasedBy" -> purchasedBy = parser.getText();
                    case "quantity" -> quantity = parser.getLongValue();
                    default -> parser.skipChildren();
                }
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
