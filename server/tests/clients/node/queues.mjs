// BullMQ: queues made of scripts, most of whose keys are not declared. The first wrong answer throws.
import assert from "node:assert/strict";
import { Queue, QueueEvents, Worker } from "bullmq";

const connection = { host: "127.0.0.1", port: Number(process.env.REDIS_PORT), maxRetriesPerRequest: null };
const JOBS = 60;

const queue = new Queue("mails", { connection });
const events = new QueueEvents("mails", { connection });
await queue.waitUntilReady();
await events.waitUntilReady();
events.setMaxListeners(0);
queue.setMaxListeners(0);
await queue.obliterate({ force: true });

const attempts = new Map();
const worker = new Worker(
  "mails",
  async (job) => {
    attempts.set(job.data.number, (attempts.get(job.data.number) ?? 0) + 1);
    if (job.data.number % 10 === 0 && job.attemptsMade === 0) throw new Error("at first it fails");
    return job.data.number * 2;
  },
  { connection, concurrency: 8 },
);
await worker.waitUntilReady();

const jobs = await queue.addBulk(
  Array.from({ length: JOBS }, (_, number) => ({
    name: "mail",
    data: { number },
    opts: { attempts: 3, backoff: { type: "fixed", delay: 20 }, delay: number % 7 === 0 ? 30 : 0, priority: number % 5 === 0 ? 1 : undefined },
  })),
);
const results = await Promise.all(jobs.map((job) => job.waitUntilFinished(events, 20_000)));
assert.deepEqual(results, Array.from({ length: JOBS }, (_, number) => number * 2));
for (let number = 0; number < JOBS; number += 1) assert.equal(attempts.get(number), number % 10 === 0 ? 2 : 1);
const counts = await queue.getJobCounts("completed", "failed", "waiting", "delayed", "active");
assert.deepEqual(counts, { completed: JOBS, failed: 0, waiting: 0, delayed: 0, active: 0 });
await queue.pause();
assert.equal(await queue.isPaused(), true);
await queue.add("mail", { number: 1 });
assert.equal(await queue.count(), 1);
await worker.close();
await queue.obliterate({ force: true });
await events.close();
await queue.close();
console.log("done");
process.exit(0);
