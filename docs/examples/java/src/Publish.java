import com.google.protobuf.ByteString;
import java.net.IDN;
import java.time.Duration;
import java.time.Instant;
import java.util.Locale;
import java.util.Properties;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.sluice.v1.Message;
import org.sluice.v1.MessageClass;
import org.sluice.v1.Recipient;

/** Publishes one mail to Sluice: Publish BOOTSTRAP TOPIC RECIPIENT ID|none */
public final class Publish {
    /** The recipient's domain in lower case as A-label. */
    static String domainKey(String address) {
        return IDN.toASCII(address.substring(address.lastIndexOf('@') + 1)).toLowerCase(Locale.ROOT);
    }

    static Message build(String recipient, String id) {
        String content = "From: News <news@example.org>\r\n"
            + "To: " + recipient + "\r\n"
            + "Subject: Hello from Java\r\n"
            + "MIME-Version: 1.0\r\n"
            + "Content-Type: text/plain; charset=utf-8\r\n"
            + "\r\n"
            + "Gr\u00fc\u00dfe!\r\n";
        return Message.newBuilder()
            .setId(id)
            .setTenant("example")
            .setCampaign("clients")
            .setMailFrom("bounces@example.org")
            .setPool("pool-a")
            .setExpiresMs(Instant.now().plus(Duration.ofDays(3)).toEpochMilli())
            .setDsnEnvid("order 4711")
            .setClass_(MessageClass.MESSAGE_CLASS_BULK)
            .putMetadata("language", "java")
            .addRecipients(Recipient.newBuilder().setAddress(recipient).putMetadata("name", "J\u00f6rg"))
            .setContent(ByteString.copyFromUtf8(content))
            .build();
    }

    public static void main(String[] args) throws Exception {
        String bootstrap = args[0];
        String topic = args[1];
        String recipient = args[2];
        String id = args[3].equals("none") ? "" : args[3];

        Properties properties = new Properties();
        properties.put(ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        properties.put(ProducerConfig.ACKS_CONFIG, "all");
        properties.put(ProducerConfig.ENABLE_IDEMPOTENCE_CONFIG, "true");
        properties.put(ProducerConfig.COMPRESSION_TYPE_CONFIG, "lz4");
        properties.put(ProducerConfig.MAX_REQUEST_SIZE_CONFIG, "27262976");
        try (KafkaProducer<String, byte[]> producer =
                 new KafkaProducer<>(properties, new StringSerializer(), new ByteArraySerializer())) {
            byte[] value = build(recipient, id).toByteArray();
            RecordMetadata place = producer.send(new ProducerRecord<>(topic, domainKey(recipient), value)).get();
            System.out.println(place.topic() + "/" + place.partition() + "/" + place.offset());
        }
    }
}
