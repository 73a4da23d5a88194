// A client that hey-api makes.
import { client } from "./made/client.gen.js";
import { tasksCreateCreate, tasksList, tasksRetrieve } from "./made/sdk.gen.js";

declare const process: { env: { TASKYARD_URL: string; TASKYARD_ACCESS: string } };
const { TASKYARD_URL, TASKYARD_ACCESS } = process.env;
client.setConfig({ baseUrl: TASKYARD_URL, auth: () => TASKYARD_ACCESS });

const made = await tasksCreateCreate({
  body: { task_type: "sum", input_data: { numbers: [1, 2.5] } },
  headers: { Prefer: "wait=30" },
  throwOnError: true,
});
const id = made.data.id;
const read = await tasksRetrieve({ path: { task_id: id }, throwOnError: true });
const page = await tasksList({
  query: { status: ["completed"], page_size: 5 },
  throwOnError: true,
});
console.log(
  JSON.stringify({
    id: Number(id),
    status: read.data.status,
    result: read.data.result,
    ids: page.data.results.map((task) => Number(task.id)),
  }),
);
