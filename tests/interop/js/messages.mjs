// Publish, subscribe and request with the official JavaScript client.

import assert from "node:assert/strict";
import { connect, Empty, headers } from "@nats-io/transport-node";

import { main, next, withServer } from "./harness.mjs";

const MAX_PAYLOAD = 1024 * 1024;

const open = (server, options = {}) => connect({ servers: server.address, ...options });

await main({
  async the_server_sends_info() {
    await withServer(["-n", "interop"], async (server) => {
      const client = await open(server);
      const info = client.info;
      // Test suites of clients enable tests by this version.
      assert.equal(info.version, "2.14.5");
      assert.equal(info.server_name, "interop");
      assert.equal(info.max_payload, MAX_PAYLOAD);
      assert.equal(info.headers, true);
      assert.equal(info.proto, 1);
      assert.equal(info.port, server.port);
      assert.equal(info.client_ip, "127.0.0.1");
      assert.ok(info.client_id > 0);
      assert.match(info.server_id, /^N[A-Z2-7]{55}$/);
      await client.close();
    });
  },

  async a_subscriber_gets_published_messages() {
    await withServer([], async (server) => {
      const client = await open(server);
      const sub = client.subscribe("greetings");
      client.publish("greetings", "Hello World!", { reply: "answers" });
      client.publish("greetings");
      client.publish("greetings", Uint8Array.from({ length: 256 }, (_, byte) => byte));
      const [text, empty, bytes] = [await next(sub), await next(sub), await next(sub)];
      assert.equal(text.string(), "Hello World!");
      assert.equal(text.subject, "greetings");
      assert.equal(text.reply, "answers");
      assert.equal(empty.data.length, 0);
      assert.deepEqual([...bytes.data], Array.from({ length: 256 }, (_, byte) => byte));
      await client.close();
    });
  },

  async wildcards_match_tokens() {
    await withServer([], async (server) => {
      const client = await open(server);
      const got = {};
      for (const filter of ["foo.*", "foo.>", "*.bar", ">"]) {
        got[filter] = [];
        client.subscribe(filter, { callback: (_, message) => got[filter].push(message.subject) });
      }
      for (const subject of ["foo", "foo.bar", "foo.bar.baz", "other.bar"]) client.publish(subject);
      await client.flush();
      assert.deepEqual(got, {
        "foo.*": ["foo.bar"],
        "foo.>": ["foo.bar", "foo.bar.baz"],
        "*.bar": ["foo.bar", "other.bar"],
        ">": ["foo", "foo.bar", "foo.bar.baz", "other.bar"],
      });
      await client.close();
    });
  },

  async each_queue_group_gets_each_message_once() {
    await withServer([], async (server) => {
      const members = await Promise.all([open(server), open(server), open(server)]);
      const got = { workers: [], auditors: [] };
      const byMember = [0, 0, 0];
      members.forEach((client, member) => {
        for (const queue of ["workers", "auditors"]) {
          client.subscribe("jobs.>", {
            queue,
            callback: (_, message) => {
              got[queue].push(Number(message.string()));
              byMember[member] += 1;
            },
          });
        }
      });
      await Promise.all(members.map((client) => client.flush()));
      const publisher = await open(server);
      const sent = Array.from({ length: 300 }, (_, number) => number);
      for (const number of sent) publisher.publish("jobs.new", String(number));
      await publisher.flush();
      // Messages routed before the publisher's PONG precede the PONG of each member.
      await Promise.all(members.map((client) => client.flush()));
      for (const queue of ["workers", "auditors"]) {
        assert.deepEqual(got[queue].toSorted((a, b) => a - b), sent);
      }
      assert.ok(byMember.every((count) => count > 0), String(byMember));
      await Promise.all([publisher, ...members].map((client) => client.close()));
    });
  },

  async a_request_is_answered_in_both_styles() {
    await withServer([], async (server) => {
      const service = await open(server);
      service.subscribe("ping", { callback: (_, message) => message.respond(`pong to ${message.string()}`) });
      await service.flush();
      const client = await open(server);
      const numbers = Array.from({ length: 100 }, (_, number) => number);
      const replies = await Promise.all(numbers.map((number) => client.request("ping", String(number))));
      assert.deepEqual(replies.map((reply) => reply.string()), numbers.map((number) => `pong to ${number}`));
      const single = await client.request("ping", "old", { noMux: true, timeout: 5000 });
      assert.equal(single.string(), "pong to old");
      await client.close();
      await service.close();
    });
  },

  async a_request_without_responders_fails_at_once() {
    await withServer([], async (server) => {
      const client = await open(server);
      for (const options of [{ timeout: 20_000 }, { timeout: 20_000, noMux: true }]) {
        const error = await client.request("nobody.home", Empty, options).then(assert.fail, (e) => e);
        assert.ok(error.isNoResponders?.() || error.cause?.name === "NoRespondersError", error);
      }
      await client.close();
    });
  },

  async several_replies_are_gathered() {
    await withServer([], async (server) => {
      const services = await Promise.all([open(server), open(server), open(server)]);
      for (const [number, service] of services.entries()) {
        service.subscribe("who", { callback: (_, message) => message.respond(String(number)) });
        await service.flush();
      }
      const client = await open(server);
      const replies = [];
      for await (const reply of await client.requestMany("who", Empty, { maxMessages: 3, maxWait: 10_000 })) {
        replies.push(reply.string());
      }
      assert.deepEqual(replies.toSorted(), ["0", "1", "2"]);
      await Promise.all([client, ...services].map((each) => each.close()));
    });
  },

  async headers_arrive_with_the_message() {
    await withServer([], async (server) => {
      const client = await open(server);
      const sub = client.subscribe("with.headers");
      const sent = headers();
      sent.append("Trace-Id", "42");
      sent.append("Many", "one");
      sent.append("Many", "two");
      client.publish("with.headers", "body", { headers: sent });
      client.publish("with.headers", "bare");
      const [message, bare] = [await next(sub), await next(sub)];
      assert.equal(message.string(), "body");
      assert.equal(message.headers.get("Trace-Id"), "42");
      assert.deepEqual(message.headers.values("Many"), ["one", "two"]);
      assert.equal(bare.headers, undefined);
      await client.close();
    });
  },

  async a_payload_of_the_maximum_size_arrives_completely() {
    await withServer([], async (server) => {
      const client = await open(server);
      const sub = client.subscribe("large");
      const payload = Uint8Array.from({ length: MAX_PAYLOAD }, (_, position) => position % 251);
      client.publish("large", payload);
      const message = await next(sub);
      assert.ok(Buffer.from(message.data).equals(payload));
      assert.throws(() => client.publish("large", new Uint8Array(MAX_PAYLOAD + 1)), /max_payload/);
      await client.close();
    });
  },

  async a_subscription_ends_at_its_maximum() {
    await withServer([], async (server) => {
      const client = await open(server);
      const counted = client.subscribe("few", { max: 3 });
      for (let number = 0; number < 10; number += 1) client.publish("few", String(number));
      const got = [];
      for await (const message of counted) got.push(message.string());
      assert.deepEqual(got, ["0", "1", "2"]);
      const error = await client.request("few", Empty, { timeout: 20_000 }).then(assert.fail, (e) => e);
      assert.ok(error.isNoResponders?.(), error);
      await client.close();
    });
  },

  async a_draining_connection_delivers_pending_messages() {
    await withServer([], async (server) => {
      const publisher = await open(server);
      const client = await open(server);
      const work = client.subscribe("work");
      await client.flush();
      for (let number = 0; number < 500; number += 1) publisher.publish("work", String(number));
      await publisher.flush();
      const got = [];
      const reading = (async () => {
        for await (const message of work) got.push(Number(message.string()));
      })();
      await client.drain();
      await reading;
      assert.deepEqual(got, Array.from({ length: 500 }, (_, number) => number));
      assert.ok(client.isClosed());
      const error = await publisher.request("work", Empty, { timeout: 20_000 }).then(assert.fail, (e) => e);
      assert.ok(error.isNoResponders?.(), error);
      await publisher.close();
    });
  },

  async round_trips_are_measured() {
    await withServer([], async (server) => {
      const client = await open(server);
      assert.ok((await client.rtt()) < 5000);
      const stats = client.stats();
      assert.equal(stats.outMsgs, 0);
      await client.close();
    });
  },
});
