// One scenario with OpenAI's own client: node openai_client.mjs <base url> <scenario>
// Prints what came as one line of JSON; an error of the client as its class and fields.

import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

const [baseURL, scenario] = process.argv.slice(2);
const client = new OpenAI({ apiKey: "sk-open", baseURL });
const messages = [{ role: "user", content: "Hi" }];
const model = "triage";
const Place = z.object({ city: z.string(), people: z.number() });
const parameters = { type: "object", properties: { city: { type: "string" } } };
const chatTools = [{ type: "function", function: { name: "weather", parameters } }];
const tools = [{ type: "function", name: "weather", parameters, strict: false }];

const scenarios = {
  async chat() {
    const { data, response, request_id } = await client.chat.completions
      .create({ model, messages, n: 1, logprobs: true })
      .withResponse();
    return {
      text: data.choices[0].message.content,
      usage: data.usage.total_tokens,
      route: response.headers.get("splice-route"),
      id: request_id,
    };
  },

  async stream() {
    const stream = await client.chat.completions.create({
      model, messages, stream: true, stream_options: { include_usage: true },
    });
    const texts = [];
    let usage = null;
    for await (const chunk of stream) {
      texts.push(chunk.choices[0]?.delta?.content ?? "");
      usage = chunk.usage ?? usage;
    }
    return { text: texts.join(""), usage: usage.total_tokens };
  },

  async tools() {
    const stream = client.chat.completions.stream({ model, messages, tools: chatTools });
    const final = await stream.finalChatCompletion();
    return final.choices[0].message.tool_calls.map((call) => call.function.arguments);
  },

  async parse() {
    const response_format = zodResponseFormat(Place, "place");
    const answer = await client.chat.completions.parse({ model, messages, response_format });
    return answer.choices[0].message.parsed;
  },

  async response() {
    const answer = await client.responses.create({ model, input: "Hi", instructions: "Be brief." });
    return { text: answer.output_text, status: answer.status, usage: answer.usage.total_tokens };
  },

  async responseParse() {
    const text = { format: zodTextFormat(Place, "place") };
    return (await client.responses.parse({ model, input: "Hi", text })).output_parsed;
  },

  async responseStream() {
    const stream = client.responses.stream({ model, input: "Hi", tools });
    const kinds = [];
    for await (const event of stream) kinds.push(event.type);
    const final = await stream.finalResponse();
    const calls = final.output.filter((item) => item.type === "function_call");
    return { kinds, text: final.output_text, calls: calls.map((call) => call.arguments) };
  },

  async embeddings() {
    const answer = await client.embeddings.create({ model, input: ["a", "b"] });
    return answer.data.map((one) => Array.from(one.embedding));
  },

  async models() {
    const ids = [];
    for await (const one of client.models.list()) ids.push(one.id);
    return { ids, one: (await client.models.retrieve("triage-fast")).owned_by };
  },

  async broken() {
    const stream = await client.chat.completions.create({ model, messages, stream: true });
    let text = "";
    try {
      for await (const chunk of stream) text += chunk.choices[0]?.delta?.content ?? "";
    } catch (error) {
      return { text, error: error.message, code: error.code };
    }
    return { text };
  },

  async brokenResponse() {
    const kinds = [];
    try {
      const stream = await client.responses.create({ model, input: "Hi", stream: true });
      for await (const event of stream) kinds.push(event.type);
    } catch (error) {
      return { last: kinds.at(-1), error: error.message };
    }
    return { last: kinds.at(-1) };
  },
};

try {
  console.log(JSON.stringify(await scenarios[scenario]()));
} catch (error) {
  if (!(error instanceof OpenAI.APIError)) throw error;
  const { status, code, type, param, message, requestID } = error;
  console.log(
    JSON.stringify({ class: error.constructor.name, status, code, type, param, message, requestID }),
  );
}
