// BullMQ on Redis: many jobs at once in each process, return values kept.
import { Job, Queue, Worker } from "bullmq";
import process from "node:process";
import { done, gate, inputs, sum } from "./tally.js";

const NAME = "bench";
const CONCURRENCY = 100;
const AT_ONCE = 500;
const connection = { url: process.env.BENCH_REDIS_URL };
const [verb, given] = process.argv.slice(2);
const count = Number(given ?? "0");

async function fill(queue) {
  for (let first = 0; first < count; first += AT_ONCE) {
    const data = inputs(first, Math.min(first + AT_ONCE, count));
    await queue.addBulk(data.map((each) => ({ name: "add", data: each })));
  }
}

async function kept(queue) {
  let total = 0;
  for (let first = 1; first <= count; first += AT_ONCE) {
    const ids = inputs(first, Math.min(first + AT_ONCE, count + 1)).map((each) => each.numbers[0]);
    const jobs = await Promise.all(ids.map((id) => Job.fromId(queue, String(id))));
    total += sum(jobs.map((job) => job.returnvalue));
  }
  console.log(total);
}

if (verb === "work") {
  await gate();
  const worker = new Worker(
    NAME,
    async (job) => {
      const result = sum(job.data.numbers);
      done(result);
      return result;
    },
    { connection: { ...connection, maxRetriesPerRequest: null }, concurrency: CONCURRENCY },
  );
  worker.on("error", console.error);
  process.on("SIGTERM", () => process.exit(0));
} else {
  const queue = new Queue(NAME, { connection });
  await { fill, kept }[verb](queue);
  await queue.close();
}
