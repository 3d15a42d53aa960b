// Publishes one mail to Sluice: publish BOOTSTRAP TOPIC RECIPIENT ID|none
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/net/idna"
	"google.golang.org/protobuf/proto"

	sluicev1 "example.org/publish/sluicev1"
)

// domainKey gives the recipient's domain in lower case as A-label.
func domainKey(address string) (string, error) {
	return idna.Lookup.ToASCII(strings.ToLower(address[strings.LastIndexByte(address, '@')+1:]))
}

func build(recipient, id string) *sluicev1.Message {
	content := "From: News <news@example.org>\r\n" +
		"To: " + recipient + "\r\n" +
		"Subject: Hello from Go\r\n" +
		"MIME-Version: 1.0\r\n" +
		"Content-Type: text/plain; charset=utf-8\r\n" +
		"\r\n" +
		"Grüße!\r\n"
	return &sluicev1.Message{
		Id:        id,
		Tenant:    "example",
		Campaign:  "clients",
		MailFrom:  "bounces@example.org",
		Pool:      "pool-a",
		ExpiresMs: time.Now().Add(72 * time.Hour).UnixMilli(),
		DsnEnvid:  "order 4711",
		Class:     sluicev1.MessageClass_MESSAGE_CLASS_BULK,
		Metadata:  map[string]string{"language": "go"},
		Recipients: []*sluicev1.Recipient{
			{Address: recipient, Metadata: map[string]string{"name": "Jörg"}},
		},
		Content: []byte(content),
	}
}

func main() {
	if len(os.Args) != 5 {
		log.Fatal("usage: publish BOOTSTRAP TOPIC RECIPIENT ID|none")
	}
	bootstrap, topic, recipient, id := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	if id == "none" {
		id = ""
	}
	key, err := domainKey(recipient)
	if err != nil {
		log.Fatal(err)
	}
	value, err := proto.Marshal(build(recipient, id))
	if err != nil {
		log.Fatal(err)
	}
	// franz-go is idempotent with acks=all by default.
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(bootstrap, ",")...),
		kgo.ProducerBatchCompression(kgo.Lz4Compression()),
		kgo.ProducerBatchMaxBytes(27262976),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	record, err := client.ProduceSync(ctx, &kgo.Record{Topic: topic, Key: []byte(key), Value: value}).First()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s/%d/%d\n", record.Topic, record.Partition, record.Offset)
}
