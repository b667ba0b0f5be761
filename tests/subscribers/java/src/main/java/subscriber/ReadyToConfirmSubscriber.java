package subscriber;

import com.google.protobuf.InvalidProtocolBufferException;
import java.math.BigDecimal;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import paybridge.event.v1.Money;
import paybridge.smart_glocal.v1.Operation;
import paybridge.smart_glocal.v1.ReadyToConfirm;
import paybridge.smart_glocal.v1.Session;

/**
 * Subscribes to Smart Glocal's sessions that wait for a confirmation, and prints each as one line.
 *
 * <pre>ReadyToConfirmSubscriber BOOTSTRAP TOPIC GROUP [--count N]</pre>
 *
 * <p>The line: event id, session id, session status; then for each operation its kind, id, amount, currency and
 * customer reference. {@code -} stands for what the event does not tell.
 */
public final class ReadyToConfirmSubscriber {
    private ReadyToConfirmSubscriber() {}

    public static void main(String[] arguments) throws InvalidProtocolBufferException {
        boolean counted = arguments.length == 5 && arguments[3].equals("--count");
        if (arguments.length != 3 && !counted) {
            System.err.println("usage: ReadyToConfirmSubscriber BOOTSTRAP TOPIC GROUP [--count N]");
            System.exit(2);
        }
        long left = counted ? Long.parseLong(arguments[4]) : Long.MAX_VALUE;
        try (var consumer = new KafkaConsumer<String, byte[]>(settings(arguments[0], arguments[2]))) {
            consumer.subscribe(List.of(arguments[1]));
            while (left > 0) {
                Map<TopicPartition, OffsetAndMetadata> handled = new HashMap<>();
                for (ConsumerRecord<String, byte[]> record : consumer.poll(Duration.ofSeconds(1))) {
                    handle(ReadyToConfirm.parseFrom(record.value()));
                    handled.put(
                            new TopicPartition(record.topic(), record.partition()),
                            new OffsetAndMetadata(record.offset() + 1));
                    left -= 1;
                    if (left == 0) {
                        break;
                    }
                }
                // After the work, never before: a crash in between repeats records and loses none.
                consumer.commitSync(handled);
            }
        }
    }

    private static Properties settings(String bootstrap, String group) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("group.id", group);
        settings.put("key.deserializer", StringDeserializer.class);
        settings.put("value.deserializer", ByteArrayDeserializer.class);
        settings.put("allow.auto.create.topics", "false");
        // A group that is new begins with the oldest record kept.
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", "false");
        // Records of transactions that were aborted are none.
        settings.put("isolation.level", "read_committed");
        return settings;
    }

    /** Your work. An event may come twice: do it once for each event id. */
    private static void handle(ReadyToConfirm event) {
        Session session = event.getSession();
        String operations = session.getOperationsList().stream()
                .map(operation -> "; " + line(operation))
                .collect(Collectors.joining());
        System.out.printf(
                "%s %s %s%s%n", event.getMetadata().getEventId(), session.getId(), status(session), operations);
    }

    /** The status by name; one that this program is too old to know, as the provider spelled it. */
    private static String status(Session session) {
        return switch (session.getStatus()) {
            case SESSION_STATUS_UNSPECIFIED, UNRECOGNIZED ->
                    session.hasStatusText() ? "\"" + session.getStatusText() + "\"" : "-";
            default -> session.getStatus().name();
        };
    }

    private static String line(Operation operation) {
        String amount = operation.hasAmount() ? text(operation.getAmount()) : "-";
        String customer = operation.getCustomer().hasReference() ? operation.getCustomer().getReference() : "-";
        return String.join(" ", operation.getKind().name(), operation.getId(), amount, customer);
    }

    /** The exact amount, never through floating point. */
    private static String text(Money money) {
        String number = money.hasExponent()
                ? BigDecimal.valueOf(money.getMinorUnits(), money.getExponent()).toPlainString()
                : money.getMinorUnits() + " minor units";
        return number + " " + (money.hasCurrency() ? money.getCurrency() : "-");
    }
}
