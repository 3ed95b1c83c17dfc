// Says what AsyncAPI's own parser makes of a document on standard input, as JSON.
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const { document, diagnostics } = await new Parser().parse(readFileSync(0, "utf8"));
const operations = document?.operations().all() ?? [];
console.log(
  JSON.stringify({
    wrong: diagnostics
      .filter((one) => one.severity <= 1)
      .map((one) => `${one.path.join(".")}: ${one.message}`),
    operations: Object.fromEntries(
      operations.map((one) => [
        one.id(),
        {
          action: one.action(),
          addresses: one.channels().all().map((channel) => channel.address()),
          servers: one.servers().all().map((server) => `${server.protocol()} ${server.host()}`),
          messages: one.messages().all().map((message) => message.id()),
        },
      ]),
    ),
  }),
);
