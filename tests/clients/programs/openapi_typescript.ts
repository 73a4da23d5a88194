// A client of openapi-fetch, with the types that openapi-typescript makes.
import createClient from "openapi-fetch";
import type { components, paths } from "./made/schema.js";

declare const process: { env: { TASKYARD_URL: string; TASKYARD_ACCESS: string } };
const { TASKYARD_URL, TASKYARD_ACCESS } = process.env;
const client = createClient<paths>({
  baseUrl: TASKYARD_URL,
  headers: { Authorization: `Bearer ${TASKYARD_ACCESS}` },
});

// Optional means optional: neither priority nor tags are given.
const wanted: components["schemas"]["TaskCreate"] = {
  task_type: "sum",
  input_data: { numbers: [1, 2.5] },
};
const made = await client.POST("/api/tasks/create/", {
  body: wanted,
  params: { header: { Prefer: "wait=30" } },
});
if (!made.data) throw new Error(JSON.stringify(made.error));
const id: number = made.data.id;
const read = await client.GET("/api/tasks/{task_id}/", { params: { path: { task_id: id } } });
const page = await client.GET("/api/tasks/", {
  params: { query: { status: ["completed"], page_size: 5 } },
});
console.log(
  JSON.stringify({
    id,
    status: read.data?.status,
    result: read.data?.result,
    ids: page.data?.results.map((task) => task.id),
  }),
);
