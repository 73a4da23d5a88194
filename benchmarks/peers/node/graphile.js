// graphile-worker on PostgreSQL, as worker.graphile.org/docs/performance sets it up for speed.
import { makeWorkerUtils, run } from "graphile-worker";
import process from "node:process";
import { done, gate, inputs, sum } from "./tally.js";

const AT_ONCE = 1000;
const connectionString = process.env.BENCH_POSTGRESQL_URL;
const [verb, given] = process.argv.slice(2);
const count = Number(given ?? "0");

const preset = {
  worker: {
    connectionString,
    concurrentJobs: 24,
    maxPoolSize: 25,
    localQueue: { size: 500 },
    completeJobBatchDelay: 0,
    failJobBatchDelay: 0,
  },
};

if (verb === "fill") {
  const utils = await makeWorkerUtils({ connectionString });
  await utils.migrate();
  for (let first = 0; first < count; first += AT_ONCE) {
    const payloads = inputs(first, Math.min(first + AT_ONCE, count));
    await utils.addJobs(payloads.map((payload) => ({ identifier: "add", payload })));
  }
  await utils.release();
} else {
  await gate();
  const runner = await run({
    preset,
    noHandleSignals: true,
    taskList: { add: async ({ numbers }) => done(sum(numbers)) },
  });
  process.on("SIGTERM", () => runner.stop().finally(() => process.exit(0)));
}
