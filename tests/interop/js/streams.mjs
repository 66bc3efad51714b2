// Streams in files, with the official JavaScript client: publishing, consumers, key-value, objects, restarts.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { AckPolicy, jetstream, jetstreamManager, RetentionPolicy, StorageType } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import { Objm } from "@nats-io/obj";
import { connect, headers } from "@nats-io/transport-node";

import { main, next, withServer } from "./harness.mjs";

// Messages of the scenarios with a restart.
const BURST = 200;

/** Runs `body` with a server that has a folder of its own, and a client. */
async function withStreams(body) {
  const folder = await mkdtemp(join(tmpdir(), "streams-"));
  try {
    await withServer(["-js", "-sd", folder], async (server) => {
      const client = await open(server);
      await body({ server, ...client });
      await client.nc.close();
    });
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function open(server) {
  const nc = await connect({ servers: server.address, reconnect: false });
  return { nc, js: jetstream(nc), jsm: await jetstreamManager(nc) };
}

/** Collects `count` messages of an iterator, and acknowledges them if `ack` says so. */
async function take(messages, count, ack = true) {
  const taken = [];
  if (count === 0) return taken;
  for await (const message of messages) {
    if (ack) message.ack();
    taken.push(message);
    if (taken.length === count) break;
  }
  return taken;
}

/** Collects the elements of an iterator. */
async function all(iterator) {
  const found = [];
  for await (const each of iterator) found.push(each);
  return found;
}

/** Fills a server, ends it with `signal`, and reads everything from the next one. */
async function keepsEverything(signal) {
  const folder = await mkdtemp(join(tmpdir(), "streams-"));
  try {
    await withServer(["-js", "-sd", folder], async (server) => {
      const before = await open(server);
      await before.jsm.streams.add({ name: "ORDERS", subjects: ["orders.>"] });
      await before.jsm.consumers.add("ORDERS", { durable_name: "worker", ack_policy: AckPolicy.Explicit });
      await Promise.all(Array.from({ length: BURST }, (_, n) => before.js.publish(`orders.${n}`, `${n}`)));
      await before.js.publish("orders.id", "once", { msgID: "once" });
      const bucket = await new Kvm(before.js).create("settings");
      await bucket.put("colour", "red");
      const store = await new Objm(before.js).create("files");
      const content = randomBytes(200_000);
      await store.putBlob({ name: "image" }, content);
      const first = await (await before.js.consumers.get("ORDERS", "worker")).next({ expires: 5000 });
      assert.equal(await first.ackAck(), true);
      await before.nc.close();

      server.process.kill(signal);
      await server.exited;
      await server.startAgain();
      const after = await open(server);
      const { state } = await after.jsm.streams.info("ORDERS");
      assert.deepEqual([state.messages, state.first_seq, state.last_seq], [BURST + 1, 1, BURST + 1]);
      assert.equal((await after.js.publish("orders.id", "once", { msgID: "once" })).duplicate, true);
      const consumer = await after.js.consumers.get("ORDERS", "worker");
      const rest = await take(await consumer.consume(), BURST);
      assert.deepEqual(rest.map((each) => each.seq), Array.from({ length: BURST }, (_, n) => n + 2));
      const again = await new Kvm(after.js).open("settings");
      assert.equal((await again.get("colour")).string(), "red");
      const files = await new Objm(after.js).open("files");
      assert.deepEqual(Buffer.from(await files.getBlob("image")), content);
      assert.equal((await after.js.publish("orders.more", "more")).seq, BURST + 2);
      await after.nc.close();
    });
  } finally {
    await rm(folder, { recursive: true });
  }
}

await main({
  publishing_is_acknowledged_deduplicated_and_refused: () =>
    withStreams(async ({ js, jsm }) => {
      const info = await jsm.streams.add({ name: "ORDERS", subjects: ["orders.>"] });
      assert.equal(info.config.storage, StorageType.File);
      const h = headers();
      h.set("Kind", "early");
      const first = await js.publish("orders.1", "one", { msgID: "a", headers: h });
      assert.deepEqual([first.stream, first.seq, first.duplicate], ["ORDERS", 1, false]);
      assert.equal((await js.publish("orders.1", "one", { msgID: "a" })).duplicate, true);
      for (const expect of [{ streamName: "OTHER" }, { lastSequence: 7 }, { lastSubjectSequence: 7 }, { lastMsgID: "b" }]) {
        await assert.rejects(js.publish("orders.1", "two", { expect }), { name: "JetStreamApiError" });
      }
      const expect = { streamName: "ORDERS", lastSequence: 1, lastSubjectSequence: 1, lastMsgID: "a" };
      assert.equal((await js.publish("orders.1", "two", { expect })).seq, 2);
      const stored = await jsm.streams.getMessage("ORDERS", { seq: 1 });
      assert.deepEqual([stored.string(), stored.header.get("Kind")], ["one", "early"]);
      assert.equal((await jsm.streams.getMessage("ORDERS", { last_by_subj: "orders.1" })).seq, 2);
    }),

  streams_are_managed: () =>
    withStreams(async ({ js, jsm }) => {
      await jsm.streams.add({ name: "A", subjects: ["a.>"], max_msgs: 3 });
      await jsm.streams.add({ name: "B", subjects: ["b.>"], retention: RetentionPolicy.Workqueue });
      await assert.rejects(jsm.streams.add({ name: "C", subjects: ["a.*"] }), { code: 10065 });
      assert.deepEqual((await jsm.streams.list().next()).map((each) => each.config.name).sort(), ["A", "B"]);
      assert.equal(await jsm.streams.find("b.1"), "B");
      for (let number = 0; number < 5; number++) await js.publish(`a.${number}`, `${number}`);
      assert.equal((await jsm.streams.info("A")).state.first_seq, 3);
      assert.equal(await jsm.streams.deleteMessage("A", 4), true);
      assert.equal((await jsm.streams.purge("A", { filter: "a.4" })).purged, 1);
      const info = await jsm.streams.info("A", { subjects_filter: ">", deleted_details: true });
      assert.deepEqual(info.state.subjects, { "a.2": 1 });
      await jsm.streams.update("A", { subjects: ["a.>", "c"] });
      assert.deepEqual((await jsm.streams.info("A")).config.subjects, ["a.>", "c"]);
      assert.equal((await jsm.getAccountInfo()).streams, 2);
      assert.equal(await jsm.streams.delete("A"), true);
      await assert.rejects(jsm.streams.info("A"), { code: 10059 });
    }),

  a_consumer_fetches_acknowledges_and_redelivers: () =>
    withStreams(async ({ js, jsm }) => {
      await jsm.streams.add({ name: "ORDERS", subjects: ["orders.>"] });
      await jsm.consumers.add("ORDERS", { durable_name: "worker", ack_policy: AckPolicy.Explicit });
      for (let number = 0; number < 4; number++) await js.publish("orders.1", `${number}`);
      const consumer = await js.consumers.get("ORDERS", "worker");
      const [zero, one, two] = await all(await consumer.fetch({ max_messages: 3, expires: 5000 }));
      assert.equal(await zero.ackAck(), true);
      one.nak();
      two.term();
      const rest = await all(await consumer.fetch({ max_messages: 2, expires: 5000 }));
      assert.deepEqual(rest.map((each) => each.string()).sort(), ["1", "3"]);
      for (const each of rest) assert.equal(await each.ackAck(), true);
      assert.equal(await consumer.next({ expires: 1000 }), null);
      const info = await consumer.info();
      assert.deepEqual([info.ack_floor.stream_seq, info.num_pending, info.num_ack_pending], [4, 0, 0]);
    }),

  a_waiting_consumer_receives_old_and_new_messages: () =>
    withStreams(async ({ js, jsm }) => {
      await jsm.streams.add({ name: "ORDERS", subjects: ["orders.>"] });
      await jsm.consumers.add("ORDERS", { durable_name: "worker", ack_policy: AckPolicy.Explicit });
      await js.publish("orders.1", "old");
      const messages = await (await js.consumers.get("ORDERS", "worker")).consume();
      assert.equal((await next(messages)).string(), "old");
      await js.publish("orders.2", "new");
      const later = await next(messages);
      assert.deepEqual([later.subject, later.string(), later.info.pending], ["orders.2", "new", 0]);
      messages.stop();
    }),

  an_ordered_consumer_receives_everything_in_order: () =>
    withStreams(async ({ js, jsm }) => {
      await jsm.streams.add({ name: "ORDERS", subjects: ["orders.>"] });
      const messages = await (await js.consumers.get("ORDERS")).consume();
      const published = Promise.all(Array.from({ length: 500 }, (_, n) => js.publish(`orders.${n % 3}`, `${n}`)));
      const seen = await take(messages, 500, false);
      await published;
      assert.deepEqual(seen.map((each) => each.seq), Array.from({ length: 500 }, (_, n) => n + 1));
    }),

  a_push_consumer_receives_messages: () =>
    withStreams(async ({ js, jsm }) => {
      await jsm.streams.add({ name: "ORDERS", subjects: ["orders.>"] });
      await jsm.consumers.add("ORDERS", { durable_name: "pusher", deliver_subject: "to.me", ack_policy: AckPolicy.Explicit });
      await js.publish("orders.1", "old");
      const messages = await (await js.consumers.getPushConsumer("ORDERS", "pusher")).consume();
      const old = await next(messages);
      await js.publish("orders.2", "new");
      const later = await next(messages);
      assert.deepEqual([old.string(), later.string()], ["old", "new"]);
      assert.equal(await later.ackAck(), true);
      messages.stop();
    }),

  a_key_value_bucket_keeps_history: () =>
    withStreams(async ({ js }) => {
      const bucket = await new Kvm(js).create("settings", { history: 5 });
      assert.equal(await bucket.put("colour", "red"), 1);
      assert.equal(await bucket.update("colour", "blue", 1), 2);
      await assert.rejects(bucket.update("colour", "green", 1), { code: 10071 });
      await assert.rejects(bucket.create("colour", "black"));
      await bucket.create("size", "7");
      assert.equal((await bucket.get("colour")).string(), "blue");
      assert.equal((await bucket.get("colour", { revision: 1 })).string(), "red");
      assert.deepEqual((await all(await bucket.keys())).sort(), ["colour", "size"]);
      const history = await all(await bucket.history({ key: "colour" }));
      assert.deepEqual(history.map((each) => each.string()), ["red", "blue"]);
      await bucket.delete("colour");
      assert.equal((await bucket.get("colour")).operation, "DEL");
      await bucket.purge("size");
      assert.equal((await bucket.get("size")).operation, "PURGE");
      assert.equal((await bucket.status()).history, 5);
      assert.equal(await bucket.destroy(), true);
    }),

  a_watcher_of_a_bucket_sees_values_and_changes: () =>
    withStreams(async ({ js }) => {
      const bucket = await new Kvm(js).create("settings");
      await bucket.put("a.1", "one");
      await bucket.put("b.1", "other");
      const watcher = await bucket.watch({ key: "a.*" });
      const first = await next(watcher);
      assert.deepEqual([first.key, first.string()], ["a.1", "one"]);
      await bucket.put("b.2", "unseen");
      await bucket.put("a.2", "two");
      await bucket.delete("a.1");
      const second = await next(watcher);
      assert.deepEqual([second.key, second.string()], ["a.2", "two"]);
      const third = await next(watcher);
      assert.deepEqual([third.key, third.operation], ["a.1", "DEL"]);
      watcher.stop();
    }),

  an_object_store_returns_what_was_put: () =>
    withStreams(async ({ js }) => {
      const store = await new Objm(js).create("files");
      const content = randomBytes(300_000);
      const put = await store.putBlob({ name: "image" }, content);
      assert.deepEqual([put.size, put.chunks], [content.length, 3]);
      assert.deepEqual(Buffer.from(await store.getBlob("image")), content);
      await store.putBlob({ name: "note" }, new TextEncoder().encode("short"));
      assert.deepEqual((await store.list()).map((each) => each.name).sort(), ["image", "note"]);
      await store.putBlob({ name: "image" }, new TextEncoder().encode("smaller"));
      assert.equal(new TextDecoder().decode(await store.getBlob("image")), "smaller");
      assert.equal((await store.delete("image")).success, true);
      assert.equal(await store.get("image"), null);
      assert.equal((await store.status()).bucket, "files");
      assert.equal(await store.destroy(), true);
    }),

  everything_acknowledged_survives_an_orderly_end: () => keepsEverything("SIGTERM"),
  everything_acknowledged_survives_a_kill: () => keepsEverything("SIGKILL"),
});
