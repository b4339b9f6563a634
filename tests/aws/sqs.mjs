// What others do with our queues: the AWS SDK and the npm package sqs-consumer.
//
//	node sqs.mjs ENDPOINT send URL N     N tasks, as other software would
//	node sqs.mjs ENDPOINT read URL N     N messages, one JSON line each
//	node sqs.mjs ENDPOINT consume URL N  sqs-consumer works off N of them
//	node sqs.mjs ENDPOINT purge URL
//	node sqs.mjs ENDPOINT raw URL BODY...  messages as they stand there, in one batch
import { SQSClient, ReceiveMessageCommand, SendMessageCommand, SendMessageBatchCommand,
	DeleteMessageCommand, PurgeQueueCommand } from "@aws-sdk/client-sqs";
import { Consumer } from "sqs-consumer";

const [endpoint, what, QueueUrl, count] = process.argv.slice(2);
const sqs = new SQSClient({ endpoint, region: "eu-central-1" });
const n = Number(count);
setTimeout(() => { console.error("too slow"); process.exit(1); }, 60000).unref();

async function send() {
	for (let i = 0; i < n; i++)
		await sqs.send(new SendMessageCommand({ QueueUrl,
			MessageBody: JSON.stringify({ type: "decrease_stock", data: { do: "ok", i } }),
			MessageAttributes: { TaskType: { DataType: "String", StringValue: "decrease_stock" } } }));
}

async function read() {
	for (let got = 0; got < n;) {
		const r = await sqs.send(new ReceiveMessageCommand({ QueueUrl, MaxNumberOfMessages: 10,
			WaitTimeSeconds: 5, MessageAttributeNames: ["All"] }));
		for (const m of r.Messages ?? []) {
			console.log(JSON.stringify({ ...JSON.parse(m.Body), attributes: Object.fromEntries(
				Object.entries(m.MessageAttributes ?? {}).map(([k, v]) => [k, v.StringValue])) }));
			await sqs.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle: m.ReceiptHandle }));
			got++;
		}
	}
}

function consume() {
	const seen = new Set();
	return new Promise((done, fail) => {
		const c = Consumer.create({ sqs, queueUrl: QueueUrl, batchSize: 10, waitTimeSeconds: 1,
			handleMessage: async (m) => {
				seen.add(JSON.parse(m.Body).id);
				if (seen.size === n)
					setTimeout(() => { c.stop(); done(); }, 200);
				return m;
			} });
		c.on("error", fail);
		c.on("processing_error", fail);
		c.start();
	}).then(() => console.log(seen.size));
}

async function purge() {
	await sqs.send(new PurgeQueueCommand({ QueueUrl }));
}

async function raw() {
	await sqs.send(new SendMessageBatchCommand({ QueueUrl, Entries: process.argv.slice(5)
		.map((MessageBody, i) => ({ Id: String(i), MessageBody })) }));
}

await { send, read, consume, purge, raw }[what]();
process.exit(0);
