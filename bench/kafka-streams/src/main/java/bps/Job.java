package bps;

import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.TimestampExtractor;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;

/**
 * The purchase processor's job on Kafka Streams under exactly_once_v2; what is not named among the
 * settings has its default.
 *
 * <p>{@code Job KAFKA APPLICATION INPUT_PREFIX OUTPUT_PREFIX STATE_FOLDER THREADS REMEMBERS
 * COMMIT_INTERVAL_MS}. REMEMBERS says whether ids that were decided are remembered ({@code ids}) or
 * resends would be decided again ({@code nothing}).
 */
public final class Job {
    /** A restock goes before a purchase unless stamped this much later; 5 s, and one for ties. */
    private static final long HEAD_START_MS = 5_001;

    private Job() {}

    /** Runs until it is told to end. */
    public static void main(String[] args) throws InterruptedException {
        if (args.length != 8) {
            System.err.println("Job KAFKA APPLICATION IN_PREFIX OUT_PREFIX STATE THREADS REMEMBERS MS");
            System.exit(64);
        }
        boolean remembers = args[6].equals("ids");
        KafkaStreams streams = new KafkaStreams(topology(args[2], args[3], remembers), settings(args));
        CountDownLatch ended = new CountDownLatch(1);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            Runtime.getRuntime().halt(1);
            return null;
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            streams.close();
            ended.countDown();
        }));
        streams.start();
        ended.await();
    }

    private static Properties settings(String[] args) {
        Properties p = new Properties();
        p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
        p.put(StreamsConfig.APPLICATION_ID_CONFIG, args[1]);
        p.put(StreamsConfig.STATE_DIR_CONFIG, args[4]);
        p.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, args[5]);
        p.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        p.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, args[7]);
        p.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        // The default is 10 MiB: with more, more rows are written to RocksDB once a commit only.
        p.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 64L << 20);
        p.put(StreamsConfig.producerPrefix(ProducerConfig.COMPRESSION_TYPE_CONFIG), "lz4");
        // As librdkafka has it. With the default, 16 KiB, it decides a sixth less.
        p.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), 1_000_000);
        // A member that comes back with its state folder takes its own place again, as ours does.
        p.put(StreamsConfig.consumerPrefix(ConsumerConfig.GROUP_INSTANCE_ID_CONFIG),
            args[1] + "-" + Integer.toHexString(args[4].hashCode()));
        p.put(StreamsConfig.consumerPrefix(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG), 6_000);
        p.put(StreamsConfig.consumerPrefix(ConsumerConfig.HEARTBEAT_INTERVAL_MS_CONFIG), 500);
        p.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 10_000);
        p.put(StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, 10_000);
        return p;
    }

    private static Topology topology(String in, String out, boolean remembers) {
        TimestampExtractor headStart = (record, streamTime) -> record.timestamp() - HEAD_START_MS;
        TimestampExtractor own = (ConsumerRecord<Object, Object> record, long t) -> record.timestamp();
        StringDeserializer key = new StringDeserializer();
        ByteArrayDeserializer value = new ByteArrayDeserializer();
        Topology topology = new Topology();
        topology.addSource(Topology.AutoOffsetReset.EARLIEST, Booking.RESTOCKS, headStart, key, value,
            in + "-items-added");
        topology.addSource(Topology.AutoOffsetReset.EARLIEST, "purchases", own, key, value,
            in + "-purchase-created");
        topology.addProcessor("booking", () -> new Booking(remembers), Booking.RESTOCKS, "purchases");
        topology.addStateStore(store(Booking.STOCK), "booking");
        if (remembers) {
            topology.addStateStore(store(Booking.DECIDED), "booking");
            topology.addStateStore(store(Booking.RESTOCKED), "booking");
        }
        topology.addSink(Booking.RESULTS, out + "-purchase-finished", new StringSerializer(),
            new ByteArraySerializer(), "booking");
        topology.addSink(Booking.ANSWERS, out + "-restock-finished", new StringSerializer(),
            new ByteArraySerializer(), "booking");
        return topology;
    }

    private static StoreBuilder<KeyValueStore<Bytes, byte[]>> store(String name) {
        return Stores.keyValueStoreBuilder(
                Stores.persistentKeyValueStore(name), Serdes.Bytes(), Serdes.ByteArray())
            .withCachingEnabled()
            .withLoggingEnabled(Map.of());
    }
}
