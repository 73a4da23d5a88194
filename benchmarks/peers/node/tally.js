// The same as ../tally.py: what this process has done, for benchmarks/peers/backlog.py.
import fs from "node:fs";
import process from "node:process";

const memory = Buffer.alloc(24);
let file = null;
let count = 0n;
let total = 0n;
let due = false;

// Once for all tasks of a turn of the event loop: a write for each would cost a few percent.
function write() {
  due = false;
  memory.writeBigInt64LE(count, 8);
  memory.writeBigInt64LE(total, 16);
  fs.writeSync(file, memory, 0, memory.length, 0);
}

export function done(result) {
  if (file === null) {
    file = fs.openSync(`${process.env.BENCH_TALLIES}/${process.pid}.tally`, "w");
    memory.writeDoubleLE(Number(process.hrtime.bigint()) / 1e9, 0);
    write();
  }
  count += 1n;
  total += BigInt(result);
  if (!due) {
    due = true;
    setImmediate(write);
  }
}

// Say that this worker is ready, and wait for the others.
export async function gate() {
  console.log("ready");
  await new Promise((resolve) => process.stdin.once("data", resolve));
  process.stdin.destroy();
}

export const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);

export function inputs(first, end) {
  return Array.from({ length: end - first }, (_, n) => ({ numbers: [first + n, 1] }));
}
