// A small web app: GET / asks the database, with whatever credential the files have now.
//
// BUNDLE is the directory where the agent puts them, LOADED the file that says what this app works
// with (`confirm: {file: …, content: generation}`), LISTEN is HOST:PORT. The database itself is
// PGHOST and PGDATABASE.
"use strict";

const fs = require("node:fs");
const http = require("node:http");
const path = require("node:path");
const { setTimeout: sleep } = require("node:timers/promises");
const { Pool } = require("pg");

const bundle = process.env.BUNDLE ?? "/run/leasehold/orders";
const loaded = process.env.LOADED ?? "/run/orders/loaded";
const [host, port] = (process.env.LISTEN ?? "127.0.0.1:3000").split(":");
const LOOK_EVERY = 5_000; // ms: a look now and then, should a change have gone by unseen

let pool; // in use
let generation; // that it was made from

/** One generation's name and content: the link is read once, so both belong together. */
function published() {
  const name = fs.readlinkSync(path.join(bundle, "..data"));
  return { name, database: JSON.parse(fs.readFileSync(path.join(bundle, name, "database.json"))) };
}

/** Try the credential that there is now; move to it; say so once nobody uses the one before. */
async function takeUp() {
  const { name, database } = published();
  if (name === generation) return;
  const next = new Pool({ user: database.username, password: database.password, max: 4 });
  next.on("error", (error) => console.error("a connection was lost:", error.message));
  try {
    await next.query("SELECT 1 FROM orders LIMIT 1");
  } catch (error) {
    generation = undefined; // the files before may come back: then they are taken up, too
    await next.end();
    throw error;
  }
  const former = pool;
  [pool, generation] = [next, name];
  if (former) await drain(former);
  fs.writeFileSync(loaded, `${name}\n`);
  console.log(`${name}: in use as ${database.username}`);
}

/** Whoever waits for a connection still gets one: `end` alone would leave them waiting for ever. */
async function drain(former) {
  while (former.waitingCount > 0) await sleep(10);
  await former.end();
}

let work = Promise.resolve(); // one change after the other
function look() {
  work = work.then(takeUp).catch((error) => console.error("not now:", error.message));
  return work;
}

const server = http.createServer(async (request, response) => {
  try {
    const { rows } = await pool.query('SELECT current_user AS "user", count(*)::int AS orders FROM orders');
    answer(response, 200, rows[0]);
  } catch (error) {
    console.error(error.message);
    answer(response, 500, { error: error.code ?? error.name });
  }
});

function answer(response, status, content) {
  response.writeHead(status, { "Content-Type": "application/json" });
  response.end(`${JSON.stringify(content)}\n`);
}

async function main() {
  fs.watch(bundle, look); // the directory: its link `..data` is replaced by a rename
  setInterval(look, LOOK_EVERY);
  await look();
  server.listen(Number(port), host, () => console.log(`listening on ${host}:${port}`));
}

main();
