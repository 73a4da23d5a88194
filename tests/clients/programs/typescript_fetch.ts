// A client that openapi-generator makes for TypeScript.
import { Configuration, TasksApi } from "./made/index.js";

declare const process: { env: { TASKYARD_URL: string; TASKYARD_ACCESS: string } };
const { TASKYARD_URL, TASKYARD_ACCESS } = process.env;
const tasks = new TasksApi(
  new Configuration({ basePath: TASKYARD_URL, accessToken: TASKYARD_ACCESS }),
);

const made = await tasks.tasksCreateCreate({
  taskCreate: { taskType: "sum", inputData: { numbers: [1, 2.5] } },
  prefer: "wait=30",
});
const read = await tasks.tasksRetrieve({ taskId: made.id });
const page = await tasks.tasksList({ status: ["completed"], pageSize: 5 });
console.log(
  JSON.stringify({
    id: made.id,
    status: read.status,
    result: read.result,
    ids: page.results.map((task) => task.id),
  }),
);
