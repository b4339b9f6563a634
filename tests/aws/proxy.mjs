// Stands before an emulator: writes down what is asked, and answers some of it as
// a service that ails would.
//
//	node proxy.mjs PORT UPSTREAM-PORT RULES LOG
//
// LOG gets a line for each request: its action and the status. RULES is read at
// each request: {"ReceiveMessage": "refused"} and so on; without the file, or
// where it has no such action, the request is passed on.
//	refused  400 with an error that no code of ours knows
//	empty    200 and {}, at once
import http from "node:http";
import { appendFileSync, readFileSync } from "node:fs";

const [port, upstream, rules, log] = process.argv.slice(2);
const agent = new http.Agent({ keepAlive: true });

function rule(action) {
	try {
		return JSON.parse(readFileSync(rules, "utf8"))[action];
	} catch {
		return undefined;
	}
}

http.createServer((rq, rs) => {
	const action = (rq.headers["x-amz-target"] ?? "-").replace(/.*\./, "");
	const how = rule(action);
	rs.on("finish", () => appendFileSync(log, `${action} ${rs.statusCode}\n`));
	if (how !== undefined) {
		rq.resume().on("end", () => rs.writeHead(how === "refused" ? 400 : 200,
			{ "content-type": "application/x-amz-json-1.0" }).end(how === "refused" ?
			JSON.stringify({ __type: "com.amazonaws.sqs#KmsDisabled", message: "The key is switched off" }) : "{}"));
		return;
	}
	const up = http.request({ port: upstream, host: "127.0.0.1", agent, method: rq.method, path: rq.url,
		headers: rq.headers }, (r) => {
		rs.writeHead(r.statusCode, r.headers);
		r.pipe(rs);
	});
	up.on("error", () => rs.destroy());
	rs.on("close", () => up.destroy());
	rq.pipe(up);
}).listen(Number(port), "127.0.0.1");
