// npm start, then http://localhost:3000: log in as ann or ben, with the password sessile.
//
//   PORT=3000            where it listens
//   SESSILE_URL=…        redis://127.0.0.1:6379
//   INSECURE_COOKIES=1   no __Host- and no Secure: for http in browsers that don't count localhost as secure, and for curl
import { createClient } from "redis";
import { application } from "./app.js";

const client = createClient({ url: process.env.SESSILE_URL ?? "redis://127.0.0.1:6379" });
client.on("error", (error) => console.error("Sessile:", error.message));
await client.connect();

const app = await application((...words) => client.sendCommand(words), { secure: process.env.INSECURE_COOKIES !== "1" });
const listener = app.listen(Number(process.env.PORT ?? 3000), "127.0.0.1", (error) => {
  if (error) throw error;
  console.log(`http://localhost:${listener.address().port}`);
});
