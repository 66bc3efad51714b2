// Credentials, and a server that restarts, with the official JavaScript client.

import assert from "node:assert/strict";
import { connect } from "@nats-io/transport-node";

import { main, next, withServer } from "./harness.mjs";

async function works(server, credentials) {
  const client = await connect({ servers: server.address, ...credentials });
  const sub = client.subscribe("in");
  client.publish("in", "!");
  const message = await next(sub);
  assert.equal(message.string(), "!");
  await client.close();
}

async function refused(server, credentials) {
  const options = { servers: server.address, reconnect: false, ...credentials };
  const error = await connect(options).then(assert.fail, (e) => e);
  assert.equal(error.name, "AuthorizationError", error);
  assert.match(error.message, /authorization violation/i);
}

await main({
  async a_token_is_accepted() {
    await withServer(["--auth", "s3cret"], async (server) => {
      await works(server, { token: "s3cret" });
      await refused(server, { token: "secret" });
      await refused(server, {});
    });
  },

  async a_user_with_the_password_is_accepted() {
    await withServer(["--user", "derek", "--pass", "s3cret"], async (server) => {
      await works(server, { user: "derek", pass: "s3cret" });
      await refused(server, { user: "derek", pass: "secret" });
      await refused(server, { user: "other", pass: "s3cret" });
      await refused(server, {});
    });
  },

  async subscriptions_survive_a_restart() {
    await withServer([], async (server) => {
      const client = await connect({
        servers: server.address,
        reconnectTimeWait: 50,
        reconnectJitter: 0,
        maxReconnectAttempts: -1,
      });
      const sub = client.subscribe("news.*");
      const counted = client.subscribe("few", { max: 2 });
      client.publish("few", "one");
      await client.flush();
      const status = client.status();
      const event = async (type) => {
        while ((await next(status)).type !== type);
      };

      await server.stop();
      await event("disconnect");
      await server.startAgain();
      await event("reconnect");

      client.publish("news.today", "again");
      const message = await next(sub);
      assert.equal(message.string(), "again");
      client.publish("few", "two");
      client.publish("few", "three");
      const got = [];
      for await (const each of counted) got.push(each.string());
      assert.deepEqual(got, ["one", "two"]);
      await client.close();
    });
  },
});
